// A container's environment variables and `$(NAME)` expansion: spec 02, sections 4.5 and 4.6.
import type { Container, EnvVar, FileKeySelector } from '../api/gen/kubernetes.ts';
import { allContainers, type Pod } from '../api/pod.ts';
import type { Problems } from './build-result.ts';
import { fieldValue, resourceValue } from './downward-api.ts';
import type { NodeFacts } from './node-facts.ts';

/** Text of env files by `envFileKey`; undefined when the file could not be read. Read by volume/. */
export type EnvFiles = ReadonlyMap<string, string | undefined>;

export type Environment = ReadonlyMap<string, string>;

export interface EnvironmentContext {
  readonly node: NodeFacts;
  /** What the sandbox reported; may be empty on the node's network. */
  readonly podIps: readonly string[];
  readonly envFiles: EnvFiles;
}

export function envFileKey(ref: Pick<FileKeySelector, 'volumeName' | 'path'>): string {
  return `${ref.volumeName}/${ref.path}`;
}

/** The files a container's `fileKeyRef` entries need. */
export function neededEnvFiles(container: Container): readonly FileKeySelector[] {
  return (container.env ?? []).flatMap(({ valueFrom }) => (valueFrom?.fileKeyRef === undefined ? [] : [valueFrom.fileKeyRef]));
}

/** L-221 … L-230. Later entries win; a value may refer to earlier ones only. */
export function environmentOf(pod: Pod, container: Container, context: EnvironmentContext, problems: Problems): Environment {
  const environment = new Map<string, string>();
  for (const source of container.envFrom ?? []) {
    const [kind, ref] = source.configMapRef === undefined ? ['secret', source.secretRef] : ['configMap', source.configMapRef];
    problems.push(`couldn't get ${kind} ${pod.metadata.namespace}/${ref?.name ?? ''}, no kubeClient defined`);
  }
  for (const entry of container.env ?? []) {
    const value =
      entry.valueFrom === undefined ? expand(entry.value ?? '', environment) : sourcedValue(pod, container, entry, context, problems);
    if (value !== undefined) environment.set(entry.name, value);
  }
  return environment;
}

/** Undefined: the variable is left out. */
function sourcedValue(
  pod: Pod,
  container: Container,
  { valueFrom }: EnvVar,
  context: EnvironmentContext,
  problems: Problems,
): string | undefined {
  const { namespace } = pod.metadata;
  if (valueFrom?.fieldRef !== undefined) {
    const path = valueFrom.fieldRef.fieldPath;
    // Whole maps are for files only.
    if (path === 'metadata.labels' || path === 'metadata.annotations') problems.push(`unsupported fieldPath: ${path}`);
    return fieldValue(pod, path, context.podIps, context.node, problems);
  }
  if (valueFrom?.resourceFieldRef !== undefined)
    return resourceValue(pod, valueFrom.resourceFieldRef, container.name, context.node, problems);
  if (valueFrom?.fileKeyRef !== undefined) return fileValue(pod, valueFrom.fileKeyRef, context.envFiles, problems);
  if (valueFrom?.configMapKeyRef !== undefined) {
    problems.push(`couldn't get configMap ${namespace}/${valueFrom.configMapKeyRef.name ?? ''}, no kubeClient defined`);
  }
  if (valueFrom?.secretKeyRef !== undefined) {
    problems.push(`couldn't get secret ${namespace}/${valueFrom.secretKeyRef.name ?? ''}, no kubeClient defined`);
  }
  return '';
}

/** L-230. */
function fileValue(pod: Pod, ref: FileKeySelector, files: EnvFiles, problems: Problems): string | undefined {
  const isMounted = allContainers(pod.spec).some((one) => (one.volumeMounts ?? []).some((mount) => mount.name === ref.volumeName));
  if (!isMounted) {
    problems.push(`cannot find the volume ${JSON.stringify(ref.volumeName)} referenced by FileKeyRef`);
    return undefined;
  }
  const text = files.get(envFileKey(ref));
  const variables = text === undefined ? undefined : parseEnvFile(text);
  if (variables === undefined) {
    problems.push(`couldn't parse env file`);
    return undefined;
  }
  const value = variables.get(ref.key) ?? '';
  if (value !== '') return value;
  if (ref.optional !== true)
    problems.push(`environment variable key ${JSON.stringify(ref.key)} not found in file ${JSON.stringify(ref.path)}`);
  return undefined;
}

/** Lines `KEY='value'`; the value may span lines. Undefined when the text has another form. */
export function parseEnvFile(text: string): ReadonlyMap<string, string> | undefined {
  const variables = new Map<string, string>();
  const entry = /(?:[ \t]*(?:#[^\n]*)?(?:\r?\n|$))|([^\s=#'][^\s=']*)=(?:'([^']*)'[ \t]*(?:#[^\n]*)?|[ \t]+[^\n]*|)(?:\r?\n|$)/y;
  while (entry.lastIndex < text.length) {
    const match = entry.exec(text);
    if (match === null) return undefined;
    if (match[1] !== undefined) variables.set(match[1], match[2] ?? '');
  }
  return variables;
}

/** `$(NAME)` → its value, `$$` → `$`; an unknown name and anything else stay as they are (L-220, L-223). */
export function expand(text: string, environment: Environment): string {
  return text.replace(/\$(?:\$|\(([^)]*)\))/g, (whole, name?: string) => (name === undefined ? '$' : (environment.get(name) ?? whole)));
}

/** As `expand`, but a name that is unknown or empty is a problem (L-236). */
export function expandStrictly(text: string, environment: Environment, problems: Problems): string {
  const missing: string[] = [];
  const expanded = text.replace(/\$(?:\$|\(([^)]*)\))/g, (_whole, name?: string) => {
    if (name === undefined) return '$';
    const value = environment.get(name) ?? '';
    if (value === '') missing.push(name);
    return value;
  });
  if (missing.length > 0) problems.push(`missing value for ${missing.join(', ')}`);
  return expanded;
}
