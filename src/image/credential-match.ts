// Which credentials belong to which image (L-369): keys are a registry host with optional port, path prefix and `*` in
// its labels.

interface Pattern {
  readonly labels: readonly string[];
  readonly port: string;
  readonly path: string;
}

/** The key in the form it is compared in: no scheme, no `/v1/` or `/v2/`, no lone slash. */
export function normalizeKey(key: string): string {
  const { host, path } = split(key);
  const effective = path.startsWith('/v1/') || path.startsWith('/v2/') ? path.slice(3) : path;
  return effective === '' || effective === '/' ? host : `${host}${effective}`;
}

/** `repository` is `<domain>/<path>`. Host labels match one by one, the path by prefix. */
export function matchesKey(key: string, repository: string): boolean {
  const pattern = parse(key);
  const target = parse(repository);
  if (pattern.port !== target.port || pattern.labels.length !== target.labels.length) return false;
  if (!target.path.startsWith(pattern.path)) return false;
  return pattern.labels.every((label, i) => matchesLabel(label, target.labels[i] ?? ''));
}

/** The keys of all entries that match, the most specific of one host first: reverse lexicographic order. */
export function matchingKeys(keys: Iterable<string>, repository: string): readonly string[] {
  // Docker Hub has had two names, and its images are asked for under one of them.
  const names = repository.startsWith('docker.io/') ? [repository, `index.${repository}`] : [repository];
  const matching = [...keys].filter((key) => names.some((name) => matchesKey(normalizeKey(key), name)));
  return matching.sort((a, b) => (normalizeKey(a) < normalizeKey(b) ? 1 : -1));
}

function split(url: string): { readonly host: string; readonly path: string } {
  const bare = url.replace(/^https?:\/\//, '');
  const slash = bare.indexOf('/');
  return slash < 0 ? { host: bare, path: '' } : { host: bare.slice(0, slash), path: bare.slice(slash) };
}

function parse(url: string): Pattern {
  const { host, path } = split(url);
  const [, name = host, port = ''] = /^(.*?)(?::(\d+))?$/.exec(host) ?? [];
  return { labels: name.split('.'), port, path };
}

/** `*` stands for any run of characters, `?` for one, as in shell patterns; nothing else is special. */
function matchesLabel(pattern: string, label: string): boolean {
  const source = pattern
    .replace(/[.+^${}()|[\]\\]/g, '\\$&')
    .replace(/\*/g, '.*')
    .replace(/\?/g, '.');
  return new RegExp(`^${source}$`, 's').test(label);
}
