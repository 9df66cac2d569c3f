// Flags, environment, drop-ins and the configuration file become one frozen AgentConfig; every problem is found in one go.
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { hostname } from 'node:os';
import { dirname, isAbsolute, join, resolve } from 'node:path';
import { isDeepStrictEqual } from 'node:util';

import { ConfigError, messageOf } from '../std/errors.ts';
import type { AgentConfig } from './agent-config.ts';
import { checkConfig } from './check.ts';
import { type Located, type LocatedMap, mergePatch, type Place, parseDocuments, plain } from './document.ts';
import { fieldFlags, flagsOfConfigFiles } from './flags.ts';
import { Invalid, parseDuration, path as pathKind } from './kinds.ts';
import {
  fieldsWithoutEffect,
  flagsWithoutEffect,
  gatesWithEffect,
  refusedFields,
  type Setting,
  settingKeys,
  settings,
} from './settings.ts';
import { closest } from './suggest.ts';

/** Where a value came from. */
export type Origin =
  | { readonly kind: 'flag'; readonly flag: string }
  | { readonly kind: 'environment'; readonly name: string }
  | ({ readonly kind: 'file' } & Place)
  | { readonly kind: 'default' };

export interface LoadedConfig {
  readonly config: AgentConfig;
  readonly origins: Readonly<Record<keyof AgentConfig, Origin>>;
  /** To be logged once at start (H-328). */
  readonly warnings: readonly string[];
  /** Every file that was read, in order: the reload reads them again. */
  readonly files: readonly string[];
}

/** What the loader needs of the machine. */
export interface ConfigHost {
  readonly hostName: string;
  /** Flags with relative paths are relative to it. */
  readonly workingDirectory: string;
  readFile(path: string): string;
  exists(path: string): boolean;
  /** Names in a folder; folders have a trailing slash. */
  listFolder(path: string): readonly string[];
}

export const systemHost: ConfigHost = {
  get hostName() {
    return hostname();
  },
  get workingDirectory() {
    return process.cwd();
  },
  readFile: (path) => readFileSync(path, 'utf8'),
  exists: existsSync,
  listFolder: (path) => readdirSync(path, { withFileTypes: true }).map((entry) => (entry.isDirectory() ? `${entry.name}/` : entry.name)),
};

export interface ConfigInput {
  /** Flag name without dashes → its texts, one per occurrence; a flag without a value has the text ''. */
  readonly flags: Readonly<Record<string, readonly string[]>>;
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly host?: ConfigHost;
}

const kubeletDocument = { apiVersion: 'kubelet.config.k8s.io/v1beta1', kind: 'KubeletConfiguration' } as const;
export const agentDocument = { apiVersion: 'pinpod.io/v1alpha1', kind: 'AgentConfiguration' } as const;
type DocumentName = 'kubelet' | 'agent';
type Documents = { readonly [K in DocumentName]?: LocatedMap };

/** Collects what is wrong and what is only worth a word. */
interface Findings {
  problem(message: string, place?: Place): void;
  readonly warnings: string[];
}

/**
 * Reads `--config`, `--config-dir`, flags and environment; precedence flag > environment > drop-in > file > default
 * (H-340). Throws one ConfigError whose message has a line for each problem, and whose `details.problems` lists them.
 */
export function loadConfig(input: ConfigInput): LoadedConfig {
  const host = input.host ?? systemHost;
  const problems: string[] = [];
  const findings: Findings = {
    problem: (message, place) => problems.push(place === undefined ? message : `${place.file}:${place.line}:${place.column}: ${message}`),
    warnings: [],
  };
  const files: string[] = [];
  const documents = readDocuments(input, host, findings, files);
  const written = {
    ...fromDocument('kubelet', documents.kubelet, findings),
    ...fromDocument('agent', documents.agent, findings),
    ...fromEnvironment(input.env, host, findings),
    ...fromFlags(input.flags, host, findings),
  };
  mergeFeatureGates(written, documents.kubelet);
  warnOfGates(written.featureGates, findings);
  const loaded = resolveAll(written, host.hostName);
  if (problems.length === 0)
    for (const message of checkConfig(loaded.config, (key) => written[key] !== undefined)) findings.problem(message);
  if (problems.length > 0) throw new ConfigError('invalid-config', problems.join('\n'), { details: { problems } });
  // A kubeadm file on a machine that has joined nothing: the ports are served all the same.
  if (loaded.config.serverTlsBootstrap && loaded.config.kubeconfig === undefined) {
    findings.warnings.push('serverTLSBootstrap: no client provided, nobody signs a serving certificate: a self-signed one is used');
  }
  if (isOpenToAll(loaded.config)) {
    findings.warnings.push(
      `whoever reaches ${loaded.config.address}:${loaded.config.port} is root on this machine: anonymous callers may do everything (authentication.anonymous.enabled, authorization.mode AlwaysAllow). Set one of them otherwise, or address to 127.0.0.1`,
    );
  }
  const inert = inertSettings(loaded.config, written);
  if (inert.length > 0) findings.warnings.push(`accepted, but without effect here: ${inert.join(', ')}`);
  return { ...loaded, warnings: findings.warnings, files };
}

/** H-302: a command in a container is a short way to the whole machine. */
function isOpenToAll(config: AgentConfig): boolean {
  const isLocal = config.address === '::1' || config.address.startsWith('127.');
  return config.enableServer && config.port !== 0 && !isLocal && config.anonymousAuth && config.authorizationMode === 'AlwaysAllow';
}

/** What somebody set to something else than its default although nothing here looks at it, as they wrote it. */
function inertSettings(config: AgentConfig, written: WrittenSettings): readonly string[] {
  const resolved = { get: <K extends keyof AgentConfig>(key: K) => config[key], isSet: () => false, hostName: '' };
  return settingKeys
    .filter((key) => !settings[key].hasEffect && written[key] !== undefined)
    .filter((key) => !isDeepStrictEqual(config[key], settings[key].default(resolved)))
    .map((key) => {
      const origin = written[key]?.origin;
      return origin?.kind === 'flag' ? `--${origin.flag}` : (settings[key].field?.path ?? key);
    });
}

interface Written {
  readonly value: unknown;
  readonly origin: Origin;
}
type WrittenSettings = Partial<Record<keyof AgentConfig, Written>>;

// ---- files

function readDocuments(input: ConfigInput, host: ConfigHost, findings: Findings, files: string[]): Documents {
  const { flags } = input;
  const absolute = (path: string): string => resolve(host.workingDirectory, path);
  const main = flags[flagsOfConfigFiles.file.name]?.at(-1) ?? usualFile(input, host);
  const folder = flags[flagsOfConfigFiles.folder.name]?.at(-1) ?? '';
  let documents: Documents = {};
  const add = (path: string): void => {
    files.push(path);
    for (const [name, map] of Object.entries(readFile(path, host, findings)) as [DocumentName, LocatedMap][]) {
      const before = documents[name];
      documents = {
        ...documents,
        [name]: before === undefined ? map : mergePatch(before, map),
      };
    }
  };
  if (main !== '') add(absolute(main));
  if (folder !== '') for (const path of dropIns(absolute(folder), host, findings)) add(path);
  return documents;
}

/** What the machine's agent reads when nobody names a file. An agent with a run-dir of its own is another one. */
const usualConfigFile = '/etc/pinpod/config.yaml';

function usualFile({ flags, env }: ConfigInput, host: ConfigHost): string {
  const { flags: spellings, environment } = settings.runDir;
  const isAnother =
    spellings.some(({ name }) => flags[name] !== undefined) || (environment !== undefined && (env[environment] ?? '') !== '');
  return !isAnother && host.exists(usualConfigFile) ? usualConfigFile : '';
}

/** Recursively, in the order of whole paths; only `.conf` (H-330). */
function dropIns(folder: string, host: ConfigHost, findings: Findings): readonly string[] {
  try {
    return [...host.listFolder(folder)]
      .sort((a, b) => (withoutSlash(a) < withoutSlash(b) ? -1 : 1))
      .flatMap((name) => {
        if (name.endsWith('/')) return dropIns(join(folder, withoutSlash(name)), host, findings);
        return name.endsWith('.conf') ? [join(folder, name)] : [];
      });
  } catch (error) {
    findings.problem(`cannot read the drop-in folder ${folder}: ${messageOf(error)}`);
    return [];
  }
}

const withoutSlash = (name: string): string => name.replace(/\/$/, '');

function readFile(file: string, host: ConfigHost, findings: Findings): Documents {
  let text: string;
  try {
    text = host.readFile(file);
  } catch (error) {
    findings.problem(`cannot read the configuration file ${file}: ${messageOf(error)}`);
    return {};
  }
  const { documents, problems } = parseDocuments(text, file);
  for (const { place, message } of problems) findings.problem(message, place);
  if (documents.length === 0 && problems.length === 0) findings.problem(`the configuration file ${file} is empty`);
  const found: { kubelet?: LocatedMap; agent?: LocatedMap } = {};
  for (const document of documents) {
    const name = documentName(document, findings);
    if (name === undefined || document.kind !== 'map') continue;
    if (found[name] !== undefined) findings.problem(`a second ${kindOf(name)} in one file`, document.place);
    found[name] = absolutePaths(name, document);
  }
  return found;
}

const kindOf = (name: DocumentName): string => (name === 'kubelet' ? kubeletDocument : agentDocument).kind;

function documentName(document: Located, findings: Findings): DocumentName | undefined {
  const value = plain(document) as { readonly apiVersion?: unknown; readonly kind?: unknown };
  if (document.kind !== 'map') {
    findings.problem('must be a map with apiVersion and kind', document.place);
    return undefined;
  }
  for (const field of ['apiVersion', 'kind'] as const)
    if (typeof value[field] !== 'string' || value[field] === '') findings.problem(`${field}: Required value`, document.place);
  const known = [kubeletDocument, agentDocument].find((d) => d.apiVersion === value.apiVersion && d.kind === value.kind);
  if (known !== undefined) return known === agentDocument ? 'agent' : 'kubelet';
  if (typeof value.apiVersion === 'string' && typeof value.kind === 'string')
    findings.problem(
      `no configuration is known as ${value.apiVersion}, kind ${value.kind}: expected ${[kubeletDocument, agentDocument]
        .map((d) => `${d.apiVersion}, kind ${d.kind}`)
        .join(' or ')}`,
      document.entries.get('kind')?.value.place ?? document.place,
    );
  return undefined;
}

/** A relative path is relative to the folder of the file that has it (H-320; here in drop-ins as well). */
function absolutePaths(name: DocumentName, document: LocatedMap): LocatedMap {
  let result = document;
  for (const key of settingKeys) {
    const { field, kind } = settings[key];
    if (field?.document !== name || kind !== (pathKind as unknown)) continue;
    const at = lookUp(result, field.path);
    if (at?.kind === 'scalar' && typeof at.value === 'string' && at.value !== '' && !isAbsolute(at.value)) {
      const value: Located = { ...at, value: resolve(dirname(at.place.file), at.value) };
      result = mergePatch(result, nested(field.path.split('.'), value, document.place));
    }
  }
  return result;
}

function nested(path: readonly string[], value: Located, place: Place): LocatedMap {
  const [first = '', ...rest] = path;
  return {
    kind: 'map',
    place,
    entries: new Map([[first, { keyPlace: place, value: rest.length === 0 ? value : nested(rest, value, place) }]]),
  };
}

function lookUp(document: Located, path: string): Located | undefined {
  return path
    .split('.')
    .reduce<Located | undefined>((at, name) => (at?.kind === 'map' ? at.entries.get(name)?.value : undefined), document);
}

// ---- one document → settings

const isZero = (value: unknown): boolean => value === 0 || value === '' || value === '0s' || value === '0';

function fromDocument(name: DocumentName, document: LocatedMap | undefined, findings: Findings): WrittenSettings {
  const written: WrittenSettings = {};
  if (document === undefined) return written;
  const byPath = new Map<string, keyof AgentConfig>();
  for (const key of settingKeys) {
    const { field } = settings[key];
    if (field?.document === name) byPath.set(field.path, key);
  }
  const inert = name === 'kubelet' ? fieldsWithoutEffect : {};
  const refused = name === 'kubelet' ? refusedFields : {};
  const known = [...byPath.keys(), ...Object.keys(inert), ...Object.keys(refused)];
  const withoutEffect: string[] = [];
  const visit = (map: LocatedMap, prefix: string): void => {
    for (const [fieldName, { keyPlace, value }] of map.entries) {
      const path = prefix + fieldName;
      if (prefix === '' && (fieldName === 'apiVersion' || fieldName === 'kind')) continue;
      const key = byPath.get(path);
      if (value.kind === 'scalar' && value.value === null) {
        if (!known.some((k) => k === path || k.startsWith(`${path}.`))) findings.problem(unknownField(path, prefix, known), keyPlace);
      } else if (key !== undefined) {
        const setting: Setting<unknown> = settings[key];
        if (setting.zeroIsUnset && value.kind === 'scalar' && isZero(value.value)) continue;
        const decoded = setting.kind.fromFile(plain(value));
        if (decoded instanceof Invalid) findings.problem(joined(path, decoded), value.place);
        else written[key] = { value: decoded, origin: { kind: 'file', ...value.place } };
      } else if (path in inert) {
        if (!isUnsetOr(inert[path], plain(value))) withoutEffect.push(path);
      } else if (path in refused) {
        const rule = refused[path];
        if (rule !== undefined && !rule.allowed.includes(plain(value)))
          findings.problem(`${path}: Unsupported value: ${JSON.stringify(plain(value))}: ${rule.why}`, value.place);
      } else if (known.some((k) => k.startsWith(`${path}.`))) {
        if (value.kind === 'map') visit(value, `${path}.`);
        else findings.problem(`${path}: Invalid value: must be a map`, value.place);
      } else findings.problem(unknownField(path, prefix, known), keyPlace);
    }
  };
  visit(document, '');
  if (withoutEffect.length > 0) findings.warnings.push(`accepted, but without effect here: ${withoutEffect.join(', ')}`);
  return written;
}

function isUnsetOr(preset: unknown, value: unknown): boolean {
  const isEmpty = value !== null && typeof value === 'object' && Object.keys(value).length === 0;
  const isSame = typeof preset === 'string' && typeof value === 'string' && parseDuration(preset) === parseDuration(value);
  return isEmpty || isZero(value) || value === preset || isSame;
}

function joined(path: string, { message }: Invalid): string {
  return message.startsWith('[') ? `${path}${message}` : `${path}: ${message}`;
}

function unknownField(path: string, prefix: string, known: readonly string[]): string {
  const siblings = new Set(known.filter((k) => k.startsWith(prefix)).map((k) => k.slice(prefix.length).split('.')[0] ?? ''));
  const nearest = closest(path.slice(prefix.length), siblings);
  return `unknown field "${path}"${nearest === undefined ? '' : `, did you mean "${prefix}${nearest}"?`}`;
}

// ---- environment and flags

function fromEnvironment(env: ConfigInput['env'], host: ConfigHost, findings: Findings): WrittenSettings {
  const written: WrittenSettings = {};
  for (const key of settingKeys) {
    const { environment, kind }: Setting<unknown> = settings[key];
    const value = environment === undefined ? undefined : env[environment];
    if (environment === undefined || value === undefined || value === '') continue;
    const decoded = kind.fromFlag([value]);
    if (decoded instanceof Invalid) findings.problem(joined(environment, decoded));
    else written[key] = { value: absoluteIfPath(kind, decoded, host), origin: { kind: 'environment', name: environment } };
  }
  return written;
}

function absoluteIfPath(kind: unknown, value: unknown, host: ConfigHost): unknown {
  return kind === pathKind && typeof value === 'string' && value !== '' ? resolve(host.workingDirectory, value) : value;
}

function fromFlags(flags: ConfigInput['flags'], host: ConfigHost, findings: Findings): WrittenSettings {
  const written: WrittenSettings = {};
  const withoutEffect: string[] = [];
  for (const [name, texts] of Object.entries(flags)) {
    const flag = fieldFlags.get(name);
    if (flag === undefined) {
      if (flagsWithoutEffect.some((f) => f.name === name)) withoutEffect.push(`--${name}`);
      else if (name !== flagsOfConfigFiles.file.name && name !== flagsOfConfigFiles.folder.name) findings.problem(unknownFlag(name));
      continue;
    }
    const { kind }: Setting<unknown> = settings[flag.key];
    const decoded = kind.fromFlag(texts);
    if (decoded instanceof Invalid) {
      findings.problem(joined(`--${name}`, decoded));
      continue;
    }
    written[flag.key] = { value: absoluteIfPath(kind, decoded, host), origin: { kind: 'flag', flag: name } };
  }
  if (withoutEffect.length > 0) findings.warnings.push(`accepted, but without effect here: ${withoutEffect.join(', ')}`);
  return written;
}

function unknownFlag(name: string): string {
  const nearest = closest(name, fieldFlags.keys());
  return `unknown flag: --${name}${nearest === undefined ? '' : `, did you mean --${nearest}?`}`;
}

/** The exception among the flags: gates are merged over the file's, one by one (H-340). */
function mergeFeatureGates(written: WrittenSettings, kubelet: LocatedMap | undefined): void {
  const fromFile = kubelet === undefined ? undefined : lookUp(kubelet, 'featureGates');
  const { featureGates } = written;
  if (featureGates?.origin.kind !== 'flag' || fromFile === undefined) return;
  const decoded = settings.featureGates.kind.fromFile(plain(fromFile));
  if (!(decoded instanceof Invalid)) written.featureGates = { ...featureGates, value: { ...decoded, ...(featureGates.value as object) } };
}

/** A gate cannot be told from a misspelt one: a kubelet knows hundreds, this agent looks at these. */
function warnOfGates(gates: Written | undefined, findings: Findings): void {
  const names = Object.keys((gates?.value ?? {}) as object).filter((name) => !gatesWithEffect.includes(name));
  if (names.length > 0) findings.warnings.push(`feature gates without effect here: ${names.join(', ')}`);
}

// ---- all together

function resolveAll(written: WrittenSettings, hostName: string): Pick<LoadedConfig, 'config' | 'origins'> {
  const done = new Map<keyof AgentConfig, unknown>();
  const get = <K extends keyof AgentConfig>(key: K): AgentConfig[K] => {
    if (!done.has(key)) {
      const given = written[key];
      const value = given === undefined ? settings[key].default(resolved) : given.value;
      done.set(key, normalize(key, value));
    }
    return done.get(key) as AgentConfig[K];
  };
  const resolved = { get, isSet: (key: keyof AgentConfig) => written[key] !== undefined, hostName };
  const config = Object.fromEntries(settingKeys.map((key) => [key, get(key)])) as unknown as AgentConfig;
  const origins = Object.fromEntries(
    settingKeys.map((key) => [key, written[key]?.origin ?? { kind: 'default' }]),
  ) as unknown as LoadedConfig['origins'];
  return { config: Object.freeze(withEvictionDefaults(config, resolved.isSet('evictionHard'))), origins: Object.freeze(origins) };
}

function normalize(key: keyof AgentConfig, value: unknown): unknown {
  if (typeof value !== 'string') return value;
  if (key === 'nodeName') return value.trim().toLowerCase(); // S-078
  if (key === 'containerRuntimeEndpoint' || key === 'imageServiceEndpoint') return value.startsWith('/') ? `unix://${value}` : value;
  if (key === 'staticPodPath') return value === '' ? undefined : value.replace(/(?<=.)\/+$/, ''); // S-001, S-003
  return (settings[key].kind as unknown) === pathKind ? value.replace(/(?<=.)\/+$/, '') : value;
}

/** Setting any signal drops the defaults of all others unless asked to merge (H-327). */
function withEvictionDefaults(config: AgentConfig, isSet: boolean): AgentConfig {
  if (!isSet || !config.mergeDefaultEvictionSettings) return config;
  const presets = settings.evictionHard.default({ get: (key) => config[key], isSet: () => false, hostName: '' });
  return { ...config, evictionHard: { ...presets, ...config.evictionHard } };
}
