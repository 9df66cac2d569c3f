// The table of settings as a JSON schema of AgentConfiguration, and as the reference page; both are published in docs/.

import { describeConfig } from './describe.ts';
import { flagDefinitions } from './flags.ts';
import { agentDocument, loadConfig, systemHost } from './load.ts';
import { fieldsWithoutEffect, refusedFields, type Setting, settingKeys, settings } from './settings.ts';

interface ObjectSchema {
  readonly type: 'object';
  readonly additionalProperties: false;
  readonly properties: Record<string, unknown>;
  readonly description?: string;
}

function objectSchema(): ObjectSchema {
  return { type: 'object', additionalProperties: false, properties: {} };
}

export function agentConfigurationSchema(): Readonly<Record<string, unknown>> {
  const root = objectSchema();
  root.properties['apiVersion'] = { const: agentDocument.apiVersion };
  root.properties['kind'] = { const: agentDocument.kind };
  for (const key of settingKeys) {
    const { field, kind, help }: Setting<unknown> = settings[key];
    if (field?.document !== 'agent') continue;
    const names = field.path.split('.');
    const last = names.pop() ?? '';
    let at = root;
    for (const name of names) {
      at.properties[name] ??= objectSchema();
      at = at.properties[name] as ObjectSchema;
    }
    at.properties[last] = { description: help, ...kind.jsonSchema };
  }
  return {
    $schema: 'https://json-schema.org/draft/2020-12/schema',
    title: 'AgentConfiguration',
    description: "pinpod's own settings: a second document of the file given by --config",
    ...root,
    required: ['apiVersion', 'kind'],
  };
}

/** Markdown. */
export function configurationReference(): string {
  const presets = new Map(
    describeConfig(loadConfig({ flags: {}, env: {}, host: { ...systemHost, hostName: 'host-name', workingDirectory: '/' } })).map(
      ({ key, value }) => [key, value],
    ),
  );
  const preset = (key: (typeof settingKeys)[number]): string => {
    const value = key === 'nodeName' ? "the host's" : presets.get(key);
    return value === undefined || value === '' ? '–' : `\`${typeof value === 'string' ? value : JSON.stringify(value)}\``;
  };
  const rows = (document: 'kubelet' | 'agent' | undefined): string =>
    settingKeys
      .filter((key) => settings[key].field?.document === document)
      .map((key) => {
        const { field, flags, kind, help, hasEffect, reload, environment }: Setting<unknown> = settings[key];
        const words = hasEffect ? help : `${help} (without effect here)`;
        const written = [
          ...flags.map(({ name }) => (name.length === 1 ? `\`-${name}\`` : `\`--${name}\``)),
          ...(environment === undefined ? [] : [`\`$${environment}\``]),
        ];
        return `| ${field === undefined ? '–' : `\`${field.path}\``} | ${written.join(' ') || '–'} | ${kind.name} | ${preset(key)} | ${words.replaceAll('|', '\\|').replaceAll('<', '\\<')} | ${reload === 'live' ? 'yes' : ''} |`;
      })
      .join('\n');
  const table = (document: 'kubelet' | 'agent' | undefined): string =>
    `| Field | Flag | Kind | Default | What it is | Reloaded |\n| --- | --- | --- | --- | --- | --- |\n${rows(document)}`;
  const silent = flagDefinitions
    .filter(({ key, name }) => key === undefined && !name.startsWith('config'))
    .map(({ name }) => `\`--${name}\``);
  return `<!-- Made by scripts/generate-config-docs.ts from src/config/settings.ts. -->
# Configuration

\`pinpod run\` reads a kubelet's configuration file (\`--config\`, else \`/etc/pinpod/config.yaml\` where there is one and no \`--run-dir\` is given; \`kind: KubeletConfiguration\`), drop-ins (\`--config-dir\`, every \`*.conf\` below it in the order of the paths) and the kubelet's flags. pinpod's own settings are a second document of the same file, \`apiVersion: ${agentDocument.apiVersion}\`, \`kind: ${agentDocument.kind}\` ([JSON schema](agent-configuration.schema.json)).

- Precedence: flag, environment, drop-in (the later one), file, default. A list replaces a list, maps are merged, \`null\` brings the default back. Feature gates of a flag are merged over the file's.
- Relative paths are relative to the file that has them; in a flag, to the working directory.
- Unknown and duplicate fields are errors, unlike with a kubelet. All errors are told at once, each with its file, line and column.
- \`pinpod config\` prints every setting with its value and where that came from.
- On SIGHUP the files are read again. What can be applied to a running agent is (column *Reloaded*); the rest is named in the log and waits for a restart. With an error in the new configuration the old one stays.
- An agent with its own \`--run-dir\` runs beside others: its ports, bridge, Pod network and cgroup are its own unless they are configured.

## KubeletConfiguration

${table('kubelet')}

Accepted, but without effect here (a warning names those that are set): ${Object.keys(fieldsWithoutEffect)
    .map((name) => `\`${name}\``)
    .join(', ')}.

Refused when set to anything else than off: ${Object.entries(refusedFields)
    .map(([name, { why }]) => `\`${name}\` (${why})`)
    .join(', ')}.

## AgentConfiguration

${table('agent')}

## Flags without a field

${table(undefined)}

Accepted, but without effect here: ${silent.join(', ')}.
`;
}
