// Two versions of an object → the fields that differ, as a person would name them. Pure.

export interface FieldChange {
  /** `spec.containers[web].image`: members of a list that has keys are named by them, others by their place. */
  readonly path: string;
  /** Absent: the field is new. */
  readonly from?: unknown;
  /** Absent: the field is gone. */
  readonly to?: unknown;
}

type Tree = Readonly<Record<string, unknown>>;

/** Keys by which Kubernetes tells the members of its lists apart; the first that all members of both lists have. */
const listKeys: readonly string[] = ['name', 'mountPath', 'devicePath', 'containerPort', 'ip', 'conditionType', 'resourceName'];

/** In the order of the fields of `from`, then of what is new in `to`. Absent, undefined, empty lists and maps are one. */
export function fieldChanges(from: unknown, to: unknown): readonly FieldChange[] {
  const changes: FieldChange[] = [];
  compare(from, to, '', changes);
  return changes;
}

function compare(from: unknown, to: unknown, path: string, changes: FieldChange[]): void {
  if (isNothing(from) && isNothing(to)) return;
  if (Array.isArray(from) && Array.isArray(to)) compareLists(from, to, path, changes);
  else if (isTree(from) && isTree(to)) {
    for (const key of new Set([...Object.keys(from), ...Object.keys(to)])) compare(from[key], to[key], join(path, key), changes);
  } else if (from !== to) {
    changes.push({ path, ...(from === undefined ? {} : { from }), ...(to === undefined ? {} : { to }) });
  }
}

function compareLists(from: readonly unknown[], to: readonly unknown[], path: string, changes: FieldChange[]): void {
  const key = keyOf(from, to);
  if (key === undefined) {
    for (let i = 0; i < Math.max(from.length, to.length); i++) compare(from[i], to[i], `${path}[${i}]`, changes);
    return;
  }
  const before = byKey(from, key);
  const after = byKey(to, key);
  for (const name of new Set([...before.keys(), ...after.keys()])) compare(before.get(name), after.get(name), `${path}[${name}]`, changes);
  // What both have, in another order: the order of containers and of environment variables means something.
  const kept = [...before.keys()].filter((name) => after.has(name));
  const order = [...after.keys()].filter((name) => before.has(name));
  if (kept.some((name, i) => name !== order[i])) changes.push({ path: `${path} (order)`, from: kept, to: order });
}

function keyOf(from: readonly unknown[], to: readonly unknown[]): string | undefined {
  return listKeys.find((key) =>
    [from, to].every((list) => list.every((item) => isTree(item) && item[key] !== undefined) && byKey(list, key).size === list.length),
  );
}

function byKey(list: readonly unknown[], key: string): ReadonlyMap<string, unknown> {
  return new Map(list.map((item) => [isTree(item) ? String(item[key]) : '', item]));
}

function join(path: string, key: string): string {
  if (/^[A-Za-z][A-Za-z0-9]*$/.test(key)) return path === '' ? key : `${path}.${key}`;
  return `${path}[${key}]`;
}

function isNothing(value: unknown): boolean {
  return value === undefined || (typeof value === 'object' && value !== null && Object.keys(value).length === 0);
}

function isTree(value: unknown): value is Tree {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
