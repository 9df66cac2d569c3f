// What SIGHUP does to the configuration in force; the files are real texts, only where they come from is made up.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { FakeClock } from '../../test/support/fake-clock.ts';
import type { AgentConfig } from '../config/agent-config.ts';
import { type LoadedConfig, loadConfig } from '../config/load.ts';
import { EventStore } from '../status/event-store.ts';
import { Mailbox, Shutdown } from '../std/async.ts';
import type { LogFields, Logger } from '../std/log.ts';
import { createLogger } from './logger.ts';
import { ConfigReload } from './reload.ts';

function load(fields: string): LoadedConfig {
  const text = `apiVersion: kubelet.config.k8s.io/v1beta1\nkind: KubeletConfiguration\n${fields}`;
  const host = { hostName: 'n1', workingDirectory: '/', readFile: () => text, exists: () => false, listFolder: () => [] };
  return loadConfig({ flags: { config: ['/c.yaml'] }, env: {}, host });
}

function fresh(first: string) {
  const lines: string[] = [];
  const say = (level: string) => (message: string, fields?: LogFields) =>
    void lines.push(`${level} ${message}${fields === undefined ? '' : ` ${JSON.stringify(fields)}`}`);
  const logger: Logger = { error: say('error'), warn: say('warn'), info: say('info'), debug: say('debug'), child: () => logger };
  const clock = new FakeClock();
  const events = new EventStore({ nodeName: 'n1' }, { clock, log: logger });
  const node = { kind: 'Node' as const, namespace: '', name: 'n1', uid: 'n1' };
  const text = { now: first };
  const reload = new ConfigReload({ loaded: load(first), node }, { read: () => load(text.now), events, logger });
  const followed: AgentConfig[] = [];
  reload.follow((config) => void followed.push(config));
  const told = () => events.list().map(({ type, reason, message }) => `${type} ${reason}: ${message}`);
  const edit = (next: string): void => {
    text.now = next;
    reload.reload();
  };
  return { reload, edit, lines, followed, told };
}

test('reload: what a running agent can take holds at once, the rest is named (H-326)', () => {
  const { reload, edit, followed, told, lines } = fresh('maxPods: 5');
  edit('maxPods: 6\nstaticPodPath: /m\nport: 11250');
  assert.deepEqual([reload.config.maxPods, reload.config.staticPodPath, reload.config.port], [6, '/m', 10250]);
  assert.deepEqual(followed, [reload.config]);
  assert.deepEqual(reload.loaded.origins.maxPods, { kind: 'file', file: '/c.yaml', line: 3, column: 10 });
  assert.deepEqual(reload.loaded.origins.port, { kind: 'default' });
  const waits = 'changed, but only applied by a restart of the agent: port';
  assert.deepEqual(told(), [`Warning ConfigurationReloaded: The configuration was read again; applied: maxPods, staticPodPath; ${waits}`]);
  assert.deepEqual(lines, ['info the configuration was read again {"applied":["maxPods","staticPodPath"]}', `warn ${waits}`]);
  assert.deepEqual(reload.warnings, [waits]);
  edit('maxPods: 6\nstaticPodPath: /m');
  assert.deepEqual(reload.warnings, []);
});

test('reload: one that cannot be used changes nothing and tells every problem', () => {
  const { reload, edit, followed, told, lines } = fresh('maxPods: 5');
  edit('maxPods: -1\nimageGCHighThresholdPercents: 7');
  assert.equal(reload.config.maxPods, 5);
  assert.deepEqual(followed, []);
  const problems = [
    '/c.yaml:3:10: maxPods: Invalid value: -1: must not be a negative number',
    '/c.yaml:4:1: unknown field "imageGCHighThresholdPercents", did you mean "imageGCHighThresholdPercent"?',
  ];
  assert.deepEqual(
    reload.warnings,
    problems.map((problem) => `the changed configuration cannot be used: ${problem}`),
  );
  assert.deepEqual(lines, [
    ...problems.map((err) => `error the configuration cannot be used ${JSON.stringify({ err })}`),
    'warn the configuration from before stays in force',
  ]);
  assert.deepEqual(told(), [
    `Warning ConfigurationRejected: The configuration cannot be used, the one from before stays in force: ${problems.join('; ')}`,
  ]);
  edit('maxPods: 7');
  assert.deepEqual([reload.config.maxPods, reload.warnings], [7, []]);
});

test('reload: an unchanged file is read, and nothing follows', () => {
  const { edit, followed, told } = fresh('maxPods: 5');
  edit('maxPods: 5 # the same');
  assert.deepEqual(followed, []);
  assert.deepEqual(told(), ['Normal ConfigurationReloaded: The configuration was read again; nothing to apply']);
});

test('reload: once for each request, until the agent stops', async () => {
  const { reload, followed } = fresh('maxPods: 5');
  const stop = new AbortController();
  const requests = new Mailbox<void>();
  const running = reload.run(requests, stop);
  requests.put();
  requests.put();
  await new Promise((resolve) => setImmediate(resolve));
  const reason = new Shutdown();
  stop.abort(reason);
  await assert.rejects(running, (error) => error === reason);
  assert.deepEqual(followed, []);
});

test('the log: debug lines come and go with the verbosity, of children too', () => {
  const lines: string[] = [];
  const logger = createLogger({ format: 'text', verbosity: 2, write: (line) => void lines.push(line.replace(/^\S+ /, '')) });
  const child = logger.child({ pod: 'a' });
  child.debug('one');
  logger.setVerbosity(4);
  child.debug('two');
  logger.setVerbosity(3);
  logger.debug('three');
  child.info('four');
  assert.deepEqual(lines, ['debug two pod=a\n', 'info four pod=a\n']);
});
