// The flags as data: the command line adds them in a loop and hands their texts to `loadConfig`.
import type { AgentConfig } from './agent-config.ts';
import { flagsWithoutEffect, settingKeys, settings } from './settings.ts';

export interface FlagDefinition {
  /** Without dashes; a single letter is a short flag. */
  readonly name: string;
  readonly help: string;
  /** What to call the value in the help text. */
  readonly valueName: string;
  /** `--flag` alone is allowed (and means true). */
  readonly valueOptional: boolean;
  /** Every occurrence counts, not only the last. */
  readonly repeatable: boolean;
  /** undefined: `--config`, `--config-dir`, or a flag without effect. */
  readonly key: keyof AgentConfig | undefined;
  /** Not worth a line in the help text: without effect, or better written in the file. */
  readonly hidden: boolean;
  readonly deprecated: boolean;
}

interface FieldFlag extends FlagDefinition {
  readonly key: keyof AgentConfig;
}

/** pinpod's users write these on the command line; the other flags of the kubelet work but are not in the help text. */
const inHelp: ReadonlySet<string> = new Set([
  'pod-manifest-path',
  'manifest-url',
  'manifest-url-header',
  'container-runtime-endpoint',
  'cluster-dns',
  'cluster-domain',
  'max-pods',
]);

const definitions: readonly FieldFlag[] = settingKeys.flatMap((key) =>
  settings[key].flags.map((flag) => ({
    name: flag.name,
    help: settings[key].help,
    valueName: settings[key].kind.name,
    valueOptional: settings[key].kind.name === 'bool',
    repeatable: settings[key].kind.name === 'list' || settings[key].kind.name === 'map',
    key,
    hidden: flag.deprecated === true && !inHelp.has(flag.name),
    deprecated: flag.deprecated === true,
  })),
);

export const fieldFlags: ReadonlyMap<string, FieldFlag> = new Map(definitions.map((flag) => [flag.name, flag]));

const configFile = {
  valueName: 'path',
  valueOptional: false,
  repeatable: false,
  key: undefined,
  hidden: false,
  deprecated: false,
} as const;

export const flagsOfConfigFiles = {
  file: { name: 'config', help: 'KubeletConfiguration, and AgentConfiguration as a second document', ...configFile },
  folder: { name: 'config-dir', help: 'folder of drop-ins, *.conf, that are merged over the configuration file', ...configFile },
} as const satisfies Record<string, FlagDefinition>;

/** All, in the order of the help text. */
export const flagDefinitions: readonly FlagDefinition[] = [
  flagsOfConfigFiles.file,
  flagsOfConfigFiles.folder,
  ...definitions,
  ...flagsWithoutEffect.map(({ name, bool = false }) => ({
    name,
    help: 'without effect here',
    valueName: bool ? 'bool' : 'string',
    valueOptional: bool,
    repeatable: false,
    key: undefined,
    hidden: true,
    deprecated: true,
  })),
];

/** Underscores count as dashes in a flag's name (H-342). */
export function normalizeFlags(argv: readonly string[]): readonly string[] {
  const end = argv.indexOf('--');
  return argv.map((text, i) => {
    if (!text.startsWith('--') || (end >= 0 && i >= end)) return text;
    const [name = '', ...value] = text.split('=');
    return [name.replaceAll('_', '-'), ...value].join('=');
  });
}
