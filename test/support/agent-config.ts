// The configuration of an agent that was told nothing but its node's name, changed as given.
import type { AgentConfig } from '../../src/config/agent-config.ts';
import { loadConfig } from '../../src/config/load.ts';

export function buildConfig(change: Partial<AgentConfig> = {}): AgentConfig {
  const absent = (): never => {
    throw Object.assign(new Error('ENOENT'), { code: 'ENOENT' });
  };
  const host = { hostName: 'node1', workingDirectory: '/', readFile: absent, exists: () => false, listFolder: absent };
  return { ...loadConfig({ flags: {}, env: {}, host }).config, ...change };
}
