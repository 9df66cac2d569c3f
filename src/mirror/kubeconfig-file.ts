// A kubeconfig's text → the current context's server and user, with absolute paths. What the file's own words ask for
// and we cannot do is a fault, never left out in silence. Contents are told of by field, never shown.
import { dirname, resolve } from 'node:path';
import { parse } from 'yaml';
import { messageOf } from '../std/errors.ts';
import { ApiError } from './kube-api.ts';

/** Given in the file itself, or as the name of another. */
export type Material = { readonly data: Buffer } | { readonly file: string } | undefined;

export interface ExecPlugin {
  readonly apiVersion: string;
  readonly command: string;
  readonly args: readonly string[];
  readonly env: Readonly<Record<string, string>>;
  /** What to do when the command is missing, in the words of whoever wrote the file. */
  readonly installHint: string | undefined;
  readonly provideClusterInfo: boolean;
}

export interface KubeconfigFile {
  readonly server: string;
  readonly ca: Material;
  readonly serverName: string | undefined;
  readonly skipVerify: boolean;
  readonly certificate: Material;
  readonly key: Material;
  readonly token: string | undefined;
  readonly tokenFile: string | undefined;
  readonly basic: { readonly username: string; readonly password: string } | undefined;
  readonly exec: ExecPlugin | undefined;
}

type Fields = Readonly<Record<string, unknown>>;

/** Throws an ApiError `credentials` that names the field. `path` is where the text is from. */
export function parseKubeconfig(text: string, path: string): KubeconfigFile {
  const fault = (what: string, cause?: unknown): ApiError => new ApiError('credentials', `kubeconfig ${path}: ${what}`, { cause });
  const document = fieldsOf(yaml(), 'it');

  function yaml(): unknown {
    try {
      // Without the lines around the place: they may be secrets.
      return parse(text, { prettyErrors: false });
    } catch (error) {
      throw fault(messageOf(error), error);
    }
  }
  function fieldsOf(value: unknown, what: string): Fields {
    if (typeof value !== 'object' || value === null || Array.isArray(value)) throw fault(`${what} is not a map`);
    return value as Fields;
  }
  function textOf(fields: Fields, name: string): string | undefined {
    const value = fields[name];
    if (value === undefined || value === null || value === '') return undefined;
    if (typeof value !== 'string') throw fault(`${name} is not a string`);
    return value;
  }
  function named(list: string, kind: string, name: string): Fields {
    const entries = document[list];
    const found = (Array.isArray(entries) ? entries : [])
      .map((entry) => fieldsOf(entry, `an entry of ${list}`))
      .find((e) => e['name'] === name);
    if (found === undefined) throw fault(`${list} has no ${JSON.stringify(name)}`);
    return fieldsOf(found[kind] ?? {}, `${kind} ${name}`);
  }
  const absolute = (file: string): string => resolve(dirname(path), file);
  function material(fields: Fields, name: string): Material {
    const data = textOf(fields, `${name}-data`);
    if (data !== undefined) return { data: Buffer.from(data, 'base64') };
    const file = textOf(fields, name);
    return file === undefined ? undefined : { file: absolute(file) };
  }

  const current = textOf(document, 'current-context');
  if (current === undefined) throw fault('current-context is not set');
  const context = named('contexts', 'context', current);
  const cluster = named('clusters', 'cluster', textOf(context, 'cluster') ?? '');
  const user = named('users', 'user', textOf(context, 'user') ?? '');
  const server = textOf(cluster, 'server');
  if (server === undefined) throw fault('the cluster has no server');
  if (textOf(cluster, 'proxy-url') !== undefined) throw fault('proxy-url is not supported');
  for (const name of ['auth-provider', 'as', 'as-uid', 'as-groups', 'as-user-extra']) {
    if (user[name] !== undefined && user[name] !== null) throw fault(`${name} is not supported`);
  }
  const username = textOf(user, 'username');
  return {
    server: server.replace(/\/+$/, ''),
    ca: material(cluster, 'certificate-authority'),
    serverName: textOf(cluster, 'tls-server-name'),
    skipVerify: cluster['insecure-skip-tls-verify'] === true,
    certificate: material(user, 'client-certificate'),
    key: material(user, 'client-key'),
    token: textOf(user, 'token'),
    tokenFile: mapped(textOf(user, 'tokenFile'), absolute),
    basic: username === undefined ? undefined : { username, password: textOf(user, 'password') ?? '' },
    exec: user['exec'] === undefined || user['exec'] === null ? undefined : pluginOf(fieldsOf(user['exec'], 'exec')),
  };

  function pluginOf(exec: Fields): ExecPlugin {
    const command = textOf(exec, 'command');
    if (command === undefined) throw fault('exec has no command');
    const apiVersion = textOf(exec, 'apiVersion') ?? '';
    if (!/^client\.authentication\.k8s\.io\/v1(beta1)?$/.test(apiVersion))
      throw fault(`exec: apiVersion ${JSON.stringify(apiVersion)} is not supported`);
    if (textOf(exec, 'interactiveMode') === 'Always') throw fault('exec: interactiveMode Always needs a person, and there is none');
    const list = (name: string): readonly unknown[] => (Array.isArray(exec[name]) ? exec[name] : []);
    return {
      apiVersion,
      // As kubectl does it: with a slash it is a path beside the file, else PATH is searched.
      command: command.includes('/') ? absolute(command) : command,
      args: list('args').map(String),
      env: Object.fromEntries(
        list('env')
          .map((e) => fieldsOf(e, 'an entry of exec.env'))
          .map((e) => [String(e['name']), String(e['value'])]),
      ),
      installHint: textOf(exec, 'installHint'),
      provideClusterInfo: exec['provideClusterInfo'] === true,
    };
  }
}

function mapped<T, U>(value: T | undefined, map: (value: T) => U): U | undefined {
  return value === undefined ? undefined : map(value);
}
