// Which host ids the Pods with user namespaces get: L-271, L-272. Pure.
import type { IdMapping } from './runtime-config.ts';
import type { UserNamespace } from './security-context.ts';

export interface IdRange {
  readonly first: number;
  readonly length: number;
}

const idLimit = 2 ** 32;

/** Everything but the first block, so that host id 0 is never mapped. */
export function defaultIdRange(idsPerPod: number): IdRange {
  return { first: idsPerPod, length: idLimit - idsPerPod };
}

/**
 * The first block of `idsPerPod` ids, aligned to its size, that is inside the range and overlaps none of those taken;
 * undefined when there is none.
 */
export function freeIdBlock(range: IdRange, idsPerPod: number, taken: readonly UserNamespace[]): UserNamespace | undefined {
  const used = taken.flatMap((users) => [...users.uids, ...users.gids]);
  const end = Math.min(range.first + range.length, idLimit);
  for (let start = Math.max(Math.ceil(range.first / idsPerPod), 1) * idsPerPod; start + idsPerPod <= end; start += idsPerPod) {
    if (used.some((one) => one.hostId < start + idsPerPod && start < one.hostId + one.length)) continue;
    const mapping: readonly IdMapping[] = [{ hostId: start, containerId: 0, length: idsPerPod }];
    return { uids: mapping, gids: mapping };
  }
  return undefined;
}

/** The range of `<n>: <user> <first> <length>` lines as getsubids prints them; undefined when there is not exactly one. */
export function parseSubIds(text: string): IdRange | undefined {
  const lines = text.split('\n').filter((line) => line.trim() !== '');
  const match = lines.length === 1 ? /^\d+: \S+ (\d+) (\d+)$/.exec(lines[0] ?? '') : null;
  return match === null ? undefined : { first: Number(match[1]), length: Number(match[2]) };
}

/** What is kept in a Pod's `userns` file. */
export function formatUserNamespace(users: UserNamespace): string {
  const plain = (list: readonly IdMapping[]): unknown => list.map(({ hostId, containerId, length }) => ({ hostId, containerId, length }));
  return JSON.stringify({ uidMappings: plain(users.uids), gidMappings: plain(users.gids) });
}

/** Undefined when the text is no such record. */
export function parseUserNamespace(text: string): UserNamespace | undefined {
  let record: unknown;
  try {
    record = JSON.parse(text);
  } catch {
    return undefined;
  }
  if (typeof record !== 'object' || record === null || !('uidMappings' in record) || !('gidMappings' in record)) return undefined;
  const uids = mappingsOf(record.uidMappings);
  const gids = mappingsOf(record.gidMappings);
  return uids === undefined || gids === undefined ? undefined : { uids, gids };
}

function mappingsOf(value: unknown): readonly IdMapping[] | undefined {
  if (!Array.isArray(value) || value.length === 0) return undefined;
  const list: IdMapping[] = [];
  for (const entry of value as readonly unknown[]) {
    if (typeof entry !== 'object' || entry === null || !('hostId' in entry) || !('containerId' in entry) || !('length' in entry))
      return undefined;
    const { hostId, containerId, length } = entry;
    if (!isId(hostId) || !isId(containerId) || !isId(length) || hostId === 0 || length === 0) return undefined;
    list.push({ hostId, containerId, length });
  }
  return list;
}

function isId(value: unknown): value is number {
  return typeof value === 'number' && Number.isInteger(value) && value >= 0 && value <= idLimit;
}
