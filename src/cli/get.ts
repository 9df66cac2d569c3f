// `pinpod get`: kubectl's table of a resource, from the Table the agent answers with.
import { type AgentClient, CommandError, type CommandIo } from './client.ts';
import { formatTable } from './table.ts';

export interface GetOptions {
  /** `pods`, `nodes`, `events`, `namespaces`; kubectl's short names too. */
  readonly resource: string;
  readonly name?: string | undefined;
  readonly namespace: string;
  readonly allNamespaces: boolean;
  readonly selector?: string | undefined;
  readonly fieldSelector?: string | undefined;
  readonly output?: 'wide' | 'json' | 'yaml' | 'name' | undefined;
  readonly watch: boolean;
  readonly noHeaders: boolean;
}

interface KnownResource {
  readonly plural: string;
  readonly singular: string;
  readonly namespaced: boolean;
}

const known: readonly (KnownResource & { readonly names: readonly string[] })[] = [
  { plural: 'pods', singular: 'pod', namespaced: true, names: ['pods', 'pod', 'po'] },
  { plural: 'nodes', singular: 'node', namespaced: false, names: ['nodes', 'node', 'no'] },
  { plural: 'events', singular: 'event', namespaced: true, names: ['events', 'event', 'ev'] },
  { plural: 'namespaces', singular: 'namespace', namespaced: false, names: ['namespaces', 'namespace', 'ns'] },
];

interface TableColumn {
  readonly name: string;
  readonly priority: number;
}

interface TableRow {
  readonly cells: readonly unknown[];
  readonly object?: { readonly metadata?: { readonly name?: string; readonly namespace?: string } };
}

interface TableAnswer {
  readonly columnDefinitions: readonly TableColumn[] | null;
  readonly rows: readonly TableRow[];
  readonly metadata?: { readonly resourceVersion?: string };
}

const tableAccept = 'application/json;as=Table;v=v1;g=meta.k8s.io,application/json';

function pathOf(resource: KnownResource, options: GetOptions): string {
  const scope =
    resource.namespaced && !(options.allNamespaces && options.name === undefined)
      ? `/namespaces/${encodeURIComponent(options.namespace)}`
      : '';
  const path = `/api/v1${scope}/${resource.plural}`;
  return options.name === undefined || options.watch ? path : `${path}/${encodeURIComponent(options.name)}`;
}

function queryOf(options: GetOptions): URLSearchParams {
  const query = new URLSearchParams();
  const fields = [options.fieldSelector, options.watch && options.name !== undefined ? `metadata.name=${options.name}` : undefined];
  const fieldSelector = fields.filter((f) => f !== undefined && f !== '').join(',');
  if (options.selector !== undefined) query.set('labelSelector', options.selector);
  if (fieldSelector !== '') query.set('fieldSelector', fieldSelector);
  return query;
}

/** The exit code. Throws a CommandError for what cannot be shown. */
export async function get(options: GetOptions, deps: { readonly client: AgentClient; readonly io: CommandIo }): Promise<number> {
  const { client, io } = deps;
  const resource = known.find((r) => r.names.includes(options.resource.toLowerCase()));
  if (resource === undefined) throw new CommandError(`the agent doesn't have a resource type "${options.resource}"`);
  const path = pathOf(resource, options);
  const query = queryOf(options);
  const url = query.size === 0 ? path : `${path}?${query}`;
  if (options.output !== undefined && options.output !== 'wide') {
    const value = await client.json(url, { signal: io.signal });
    await io.out(await formatObject(value, options.output, resource));
    return 0;
  }
  const table = (await client.json(url, { signal: io.signal, accept: tableAccept })) as TableAnswer;
  if (table.rows.length === 0 && !options.watch) {
    await io.err(
      resource.namespaced && !options.allNamespaces ? `No resources found in ${options.namespace} namespace.\n` : 'No resources found\n',
    );
    return 0;
  }
  const columns = table.columnDefinitions ?? [];
  await io.out(printTable(columns, table.rows, options, !options.noHeaders));
  if (!options.watch) return 0;
  query.set('watch', 'true');
  query.set('resourceVersion', table.metadata?.resourceVersion ?? '0');
  await follow(`${path}?${query}`, columns, options, deps);
  return 0;
}

function printTable(columns: readonly TableColumn[], rows: readonly TableRow[], options: GetOptions, withHeader: boolean): string {
  const shown = columns.flatMap((column, i) => (column.priority === 0 || options.output === 'wide' ? [i] : []));
  const header = [...(options.allNamespaces ? ['NAMESPACE'] : []), ...shown.map((i) => (columns[i]?.name ?? '').toUpperCase())];
  const lines = rows.map((row) => [
    ...(options.allNamespaces ? [row.object?.metadata?.namespace ?? ''] : []),
    ...shown.map((i) => String(row.cells[i] ?? '')),
  ]);
  return formatTable(withHeader ? [header, ...lines] : lines);
}

async function follow(
  url: string,
  columns: readonly TableColumn[],
  options: GetOptions,
  { client, io }: { readonly client: AgentClient; readonly io: CommandIo },
): Promise<void> {
  let rest = '';
  const decoder = new TextDecoder();
  for await (const bytes of client.bytes(url, { signal: io.signal, accept: tableAccept })) {
    rest += decoder.decode(bytes, { stream: true });
    for (let end = rest.indexOf('\n'); end >= 0; end = rest.indexOf('\n')) {
      const event = JSON.parse(rest.slice(0, end)) as { readonly type: string; readonly object: TableAnswer };
      rest = rest.slice(end + 1);
      if (event.type === 'ERROR') return;
      if (event.type !== 'BOOKMARK') await io.out(printTable(columns, event.object.rows, options, false));
    }
  }
}

async function formatObject(value: unknown, output: 'json' | 'yaml' | 'name', resource: KnownResource): Promise<string> {
  switch (output) {
    case 'json':
      return `${JSON.stringify(value, undefined, 4)}\n`;
    case 'yaml': {
      const { stringify } = await import('yaml');
      // Words that YAML 1.1 takes for booleans or times are quoted, as kubectl does: what is printed can be a manifest again.
      return stringify(value, { version: '1.1', lineWidth: 0 });
    }
    case 'name': {
      const { items, metadata } = value as { items?: readonly { metadata: { name: string } }[]; metadata: { name: string } };
      return (items ?? [{ metadata }]).map((item) => `${resource.singular}/${item.metadata.name}\n`).join('');
    }
  }
}
