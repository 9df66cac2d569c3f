// Reserves host ids for Pods with `hostUsers: false` and keeps them beside the Pod's files (L-271, L-272).
import { readdir, readFile, rename, writeFile } from 'node:fs/promises';
import type { UserNamespace } from '../pod/security-context.ts';
import { defaultIdRange, formatUserNamespace, freeIdBlock, type IdRange, parseSubIds, parseUserNamespace } from '../pod/user-ids.ts';
import { AgentError, ConfigError, messageOf, systemCode } from '../std/errors.ts';
import type { Logger } from '../std/log.ts';
import { runProgram } from '../std/process.ts';

export interface UserNamespacesOptions {
  readonly rootDir: string;
  /** A multiple of 65536. */
  readonly idsPerPod: number;
  readonly range: IdRange;
}

export interface UserNamespacesDeps {
  readonly log: Logger;
  /** Makes and names a Pod's folder: `Volumes.podDirectory`. */
  readonly podDirectory: (podUid: string) => Promise<string>;
}

/** The file in the Pod's folder is the reservation: it ends when the folder is torn down. */
export class UserNamespaces {
  readonly #options: UserNamespacesOptions;
  readonly #deps: UserNamespacesDeps;
  /** One reservation at a time, or two Pods would find the same block free. */
  #turn: Promise<unknown> = Promise.resolve();

  constructor(options: UserNamespacesOptions, deps: UserNamespacesDeps) {
    this.#options = options;
    this.#deps = deps;
  }

  /** The Pod's ids, reserved now if it has none yet; undefined when none are left. The same after a restart. */
  async reserve(podUid: string): Promise<UserNamespace | undefined> {
    const mine = this.#turn.then(() => this.#reserve(podUid));
    this.#turn = Promise.allSettled([mine]);
    return await mine;
  }

  async #reserve(podUid: string): Promise<UserNamespace | undefined> {
    const path = `${await this.#deps.podDirectory(podUid)}/userns`;
    const own = await this.#read(path);
    if (own !== undefined) return own;
    const taken: UserNamespace[] = [];
    for (const folder of await readdir(`${this.#options.rootDir}/pods`)) {
      const users = await this.#read(`${this.#options.rootDir}/pods/${folder}/userns`);
      if (users !== undefined) taken.push(users);
    }
    const users = freeIdBlock(this.#options.range, this.#options.idsPerPod, taken);
    if (users === undefined) return undefined;
    await writeFile(`${path}.new`, formatUserNamespace(users), { mode: 0o600, flush: true });
    await rename(`${path}.new`, path);
    return users;
  }

  async #read(path: string): Promise<UserNamespace | undefined> {
    let text: string;
    try {
      text = await readFile(path, 'utf8');
    } catch (error) {
      if (systemCode(error) === 'ENOENT' || systemCode(error) === 'ENOTDIR') return undefined;
      throw error;
    }
    const users = parseUserNamespace(text);
    if (users === undefined) this.#deps.log.warn('user namespace record is damaged', { path });
    return users;
  }
}

/**
 * The ids Pods may be given: those of user `kubelet`, or all when that user or the program getsubids is not there.
 * A ConfigError when they are there but do not give one range for users and groups alike.
 */
export async function findIdRange(idsPerPod: number, options: { readonly signal: AbortSignal }): Promise<IdRange> {
  const passwd = await readFile('/etc/passwd', 'utf8');
  if (!/^kubelet:/m.test(passwd)) return defaultIdRange(idsPerPod);
  const run = async (args: readonly string[]) => await runProgram('getsubids', args, options);
  const [uids, gids] = await Promise.allSettled([run(['kubelet']), run(['-g', 'kubelet'])]);
  for (const outcome of [uids, gids]) {
    if (outcome.status === 'fulfilled') continue;
    if (outcome.reason instanceof AgentError && outcome.reason.code === 'program-missing') return defaultIdRange(idsPerPod);
    throw new ConfigError('subids', `getsubids kubelet: ${messageOf(outcome.reason)}`, { cause: outcome.reason });
  }
  const users = uids.status === 'fulfilled' ? parseSubIds(uids.value.stdout) : undefined;
  const groups = gids.status === 'fulfilled' ? parseSubIds(gids.value.stdout) : undefined;
  if (users === undefined || users.first !== groups?.first || users.length !== groups.length) {
    throw new ConfigError('subids', 'getsubids must give user kubelet one range, the same for users and groups');
  }
  return users;
}
