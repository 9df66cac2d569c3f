// What `pinpod config` prints: every setting with its value as one would write it, and where that came from.
import type { AgentConfig } from './agent-config.ts';
import type { LoadedConfig, Origin } from './load.ts';
import { fieldsWithoutEffect, refusedFields, type Setting, settingKeys, settings } from './settings.ts';

export interface SettingDescription {
  readonly key: keyof AgentConfig;
  /** Field of KubeletConfiguration or AgentConfiguration; for the few without one, the flag. */
  readonly name: string;
  readonly document: 'KubeletConfiguration' | 'AgentConfiguration' | undefined;
  /** JSON value; header values are masked (S-060). undefined: unset. */
  readonly value: unknown;
  /** `flag --max-pods`, `/etc/x.yaml:3:9`, `environment PINPOD_RUN_DIR`, `default`. */
  readonly origin: string;
  readonly reload: 'live' | 'restart';
  readonly help: string;
}

export function formatOrigin(origin: Origin): string {
  switch (origin.kind) {
    case 'flag':
      return `flag --${origin.flag}`;
    case 'environment':
      return `environment ${origin.name}`;
    case 'file':
      return `${origin.file}:${origin.line}:${origin.column}`;
    case 'default':
      return 'default';
  }
}

export function describeConfig({ config, origins }: Pick<LoadedConfig, 'config' | 'origins'>): readonly SettingDescription[] {
  return settingKeys.map((key) => {
    const { field, flags, kind, reload, help }: Setting<unknown> = settings[key];
    const value = config[key];
    return {
      key,
      name: field?.path ?? `--${flags[0]?.name ?? key}`,
      document: field === undefined ? undefined : field.document === 'kubelet' ? 'KubeletConfiguration' : 'AgentConfiguration',
      value: value === undefined ? undefined : kind.print(value),
      origin: formatOrigin(origins[key]),
      reload,
      help,
    };
  });
}

/** The two documents that, loaded without a flag, give this configuration; unset fields are left out. */
export function toDocuments(loaded: Pick<LoadedConfig, 'config' | 'origins'>): readonly Readonly<Record<string, unknown>>[] {
  const kubelet: Record<string, unknown> = { apiVersion: 'kubelet.config.k8s.io/v1beta1', kind: 'KubeletConfiguration' };
  const agent: Record<string, unknown> = { apiVersion: 'pinpod.io/v1alpha1', kind: 'AgentConfiguration' };
  for (const { document, name, value } of describeConfig(loaded)) {
    if (document === undefined || value === undefined) continue;
    put(document === 'KubeletConfiguration' ? kubelet : agent, name.split('.'), value);
  }
  return [kubelet, agent];
}

/** What a kubelet shows also when it is off or empty; other empty values are left out unless they were asked for. */
const alwaysShown: ReadonlySet<string> = new Set([
  'authentication.anonymous.enabled',
  'authentication.webhook.enabled',
  'mergeDefaultEvictionSettings',
  'failSwapOn',
  'enableSystemLogQuery',
  'seccompDefault',
  'failCgroupV1',
  'logging.verbosity',
]);

/** The document of `/configz` (H-288): what is in effect, those fields included whose default is all there is here. */
export function configz(loaded: Pick<LoadedConfig, 'config' | 'origins'>): Readonly<Record<string, unknown>> {
  const shown: Record<string, unknown> = { kind: 'KubeletConfiguration', apiVersion: 'kubelet.config.k8s.io/v1beta1' };
  for (const { document, name, value, origin } of describeConfig(loaded)) {
    const isLeftOut = value === undefined || (isEmpty(value) && origin === 'default' && !alwaysShown.has(name));
    if (document === 'KubeletConfiguration' && !isLeftOut) put(shown, name.split('.'), value);
  }
  const only = Object.entries(refusedFields).map(([name, { allowed }]) => [name, allowed.at(-1)] as const);
  for (const [name, value] of [...Object.entries(fieldsWithoutEffect), ...only]) {
    if (!isEmpty(value)) put(shown, name.split('.'), value);
  }
  return shown;
}

function isEmpty(value: unknown): boolean {
  if (typeof value === 'object' && value !== null) return Object.keys(value).length === 0;
  return value === '' || value === 0 || value === false;
}

function put(into: Record<string, unknown>, [first = '', ...rest]: readonly string[], value: unknown): void {
  if (rest.length === 0) {
    into[first] = value;
    return;
  }
  const inner = (into[first] ?? {}) as Record<string, unknown>;
  into[first] = inner;
  put(inner, rest, value);
}
