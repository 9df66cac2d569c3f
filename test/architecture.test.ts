// The import table of STYLE section 2 as data, and the other rules a compiler does not check. An arrow that is not in
// the original table names the decision that added it.
import assert from 'node:assert/strict';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { describe, it } from 'node:test';

const src = path.join(import.meta.dirname, '..', 'src');

interface Rule {
  /** Folders (`runtime` means the files right in it, not `runtime/cri`) or single files. */
  readonly may: readonly string[];
  /** npm packages. */
  readonly packages: readonly string[];
}

const grpc = ['nice-grpc', 'nice-grpc-common', '@grpc/grpc-js', '@bufbuild/protobuf'];

/** The most specific entry counts. Its own folder is always allowed. */
const table: Readonly<Record<string, Rule>> = {
  std: { may: [], packages: [] },
  api: { may: ['std'], packages: ['yaml'] },
  pod: { may: ['api', 'std'], packages: [] },
  runtime: { may: ['pod', 'api', 'std'], packages: [] },
  'runtime/cri': { may: ['runtime', 'pod', 'api', 'std'], packages: grpc },
  'runtime/containerd': { may: ['runtime', 'pod', 'api', 'std'], packages: grpc },
  source: { may: ['api', 'std'], packages: [] },
  podconfig: { may: ['api', 'std', 'source/source.ts'], packages: [] },
  pleg: { may: ['runtime', 'pod', 'std'], packages: [] },
  prober: { may: ['runtime', 'pod', 'api', 'std'], packages: grpc },
  status: { may: ['api', 'std'], packages: [] },
  podworker: { may: ['pod', 'runtime', 'status', 'api', 'std'], packages: [] },
  image: { may: ['runtime', 'pod', 'api', 'std'], packages: ['tar-stream', 'valibot', 'yaml'] },
  volume: { may: ['runtime', 'pod', 'api', 'std'], packages: [] },
  cgroup: { may: ['runtime', 'pod', 'api', 'std'], packages: [] },
  // Decisions 0037 and 0038.
  eviction: { may: ['pod', 'api', 'std'], packages: [] },
  shutdown: { may: ['pod', 'api', 'std'], packages: [] },
  // Decision 0041 has the YAML reader in place of the client library.
  mirror: { may: ['status', 'api', 'std'], packages: ['yaml', '@peculiar/x509', 'reflect-metadata'] },
  server: {
    may: ['api', 'std'],
    packages: ['hono', '@hono/node-server', '@peculiar/x509', 'reflect-metadata', 'prom-client', '@bufbuild/protobuf'],
  },
  config: { may: ['api', 'std'], packages: ['valibot', 'yaml'] },
  agent: {
    may: [
      ...['std', 'api', 'pod', 'runtime', 'runtime/cri', 'runtime/containerd', 'source', 'podconfig', 'pleg', 'prober', 'status'],
      ...['podworker', 'image', 'volume', 'cgroup', 'eviction', 'shutdown', 'mirror', 'server', 'config'],
    ],
    packages: ['pino', 'prom-client', 'hono', '@hono/node-server'],
  },
  cli: { may: ['cli/manifest-files.ts', 'api', 'config', 'std'], packages: ['commander', 'yaml'] },
  // Decision 0015.
  'cli/validate.ts': { may: ['cli', 'cli/manifest-files.ts', 'api', 'source/static-pod.ts', 'std'], packages: [] },
  'cli/manifest-files.ts': { may: ['cli', 'api', 'source/file-names.ts', 'std'], packages: [] },
  'cli/run.ts': { may: ['cli', 'agent', 'api', 'config', 'std'], packages: ['commander'] },
  'main.ts': { may: ['cli', 'cli/main.ts', 'std'], packages: [] },
  'cli/main.ts': {
    may: ['cli', 'cli/run.ts', 'cli/validate.ts', 'cli/manifest-files.ts', 'api', 'config', 'std'],
    packages: ['commander'],
  },
};

/** What the pure folders may use of Node: computation, no world. */
const pureModules = ['node:crypto', 'node:net', 'node:path', 'node:path/posix', 'node:util', 'node:buffer'];

interface Import {
  readonly specifier: string;
  readonly names: string;
}

interface Source {
  /** Below src/, with slashes. */
  readonly name: string;
  readonly text: string;
  /** Without comments and without what stands in quotes. */
  readonly code: string;
  readonly imports: readonly Import[];
}

const sources: readonly Source[] = readdirSync(src, { recursive: true, encoding: 'utf8' })
  .filter((name) => name.endsWith('.ts') && !name.endsWith('.test.ts'))
  .map((name) => {
    const text = readFileSync(path.join(src, name), 'utf8');
    const withoutComments = strip(text, false);
    return { name: name.split(path.sep).join('/'), text, code: strip(text, true), imports: importsOf(withoutComments) };
  });

/** Comments become spaces; with `quotes` so does the inside of string literals. Code within templates stays. */
function strip(text: string, quotes: boolean): string {
  const token =
    /\/\/[^\n]*|\/\*[\s\S]*?\*\/|'(?:[^'\\\n]|\\.)*'|"(?:[^"\\\n]|\\.)*"|(?<=[=(,:[!&|?{};\s])\/(?![*/])(?:[^/\\\n[]|\\.|\[(?:[^\]\\\n]|\\.)*\])+\/[a-z]*/g;
  return text.replaceAll(token, (found) => (found.startsWith('//') || found.startsWith('/*') ? ' ' : quotes ? "''" : found));
}

function importsOf(text: string): readonly Import[] {
  const statements = text.matchAll(/^\s*(?:import|export)\s+([^'";]*?)\s*from\s*'([^']+)'/gm);
  const bare = text.matchAll(/^\s*import\s*'([^']+)'/gm);
  const dynamic = text.matchAll(/\bimport\(\s*'([^']+)'\s*\)/g);
  return [
    ...[...statements].map((m) => ({ specifier: m[2] ?? '', names: m[1] ?? '' })),
    ...[...bare, ...dynamic].map((m) => ({ specifier: m[1] ?? '', names: '' })),
  ];
}

const isGenerated = (name: string): boolean => name.includes('/gen/');

/** The table's entry for a file: the file itself, or its nearest folder. */
function entryOf(name: string): string | undefined {
  for (let key = name; key !== '.'; key = path.posix.dirname(key)) if (key in table) return key;
  return undefined;
}

const targetOf = (from: string, specifier: string): string => path.posix.join(path.posix.dirname(from), specifier);

/** `@scope/name/sub` → `@scope/name`. */
const packageOf = (specifier: string): string =>
  specifier
    .split('/')
    .slice(0, specifier.startsWith('@') ? 2 : 1)
    .join('/');

function importFaults(source: Source): readonly string[] {
  const own = entryOf(source.name);
  if (own === undefined) return [`${source.name}: its folder is not in the table`];
  const rule = table[own];
  return source.imports.flatMap(({ specifier }) => {
    if (specifier.startsWith('node:')) {
      const isPure = own === 'pod' || own === 'api';
      return isPure && !pureModules.includes(specifier) ? [`${source.name}: ${own}/ is pure and must not import ${specifier}`] : [];
    }
    if (!specifier.startsWith('.')) {
      const isAllowed = rule?.packages.includes(packageOf(specifier)) ?? false;
      return isAllowed ? [] : [`${source.name}: ${own} must not import the package ${specifier}`];
    }
    const target = targetOf(source.name, specifier);
    const entry = entryOf(target);
    const isAllowed = entry === own || rule?.may.includes(entry ?? '') || rule?.may.includes(target);
    return isAllowed ? [] : [`${source.name}: ${own} must not import ${target}`];
  });
}

describe('architecture', () => {
  it('finds the sources', () => {
    assert.ok(sources.length > 50, `only ${sources.length} files: the reader is broken`);
    assert.ok(sources.some((source) => source.imports.length > 3));
  });

  it('imports only along the table', () => {
    assert.deepEqual(sources.flatMap(importFaults), []);
  });

  it('imports files that exist', () => {
    const faults = sources.flatMap((source) =>
      source.imports
        .filter(({ specifier }) => specifier.startsWith('.') && !existsSync(path.join(src, targetOf(source.name, specifier))))
        .map(({ specifier }) => `${source.name}: ${specifier}`),
    );
    assert.deepEqual(faults, []);
  });

  it('has no cycle of files, types included', () => {
    const graph = new Map(
      sources.map((source) => [
        source.name,
        source.imports.filter((i) => i.specifier.startsWith('.')).map((i) => targetOf(source.name, i.specifier)),
      ]),
    );
    assert.deepEqual(cycles(graph), []);
  });

  it('takes time and chance from std/ only', () => {
    const forbidden = /(?<![.\w$])(?:Date|setTimeout|setInterval|performance)\b(?!\s*\??:)|\bMath\.random\b/g;
    const modules = ['node:timers', 'node:timers/promises', 'node:perf_hooks'];
    const faults = sources
      .filter(({ name }) => !name.startsWith('std/') && !isGenerated(name))
      .flatMap((source) => [
        ...[...source.code.matchAll(forbidden)].map((found) => at(source, found)),
        ...source.imports
          .filter((i) => modules.includes(i.specifier) && i.names !== '{ setImmediate }')
          .map((i) => `${source.name}: ${i.specifier}`),
      ]);
    assert.deepEqual(faults, []);
  });

  it('touches the process in main.ts and config/ only, and in std/process.ts (docs/decisions/0005)', () => {
    const faults = sources
      .filter(({ name }) => name !== 'main.ts' && name !== 'std/process.ts' && !name.startsWith('config/') && !isGenerated(name))
      .flatMap((source) => [
        ...[...source.code.matchAll(/(?<![.\w$])process\s*[.[]/g)].map((found) => at(source, found)),
        ...source.imports
          .filter((i) => i.specifier === 'node:process' || i.specifier === 'process')
          .map((i) => `${source.name}: ${i.specifier}`),
      ]);
    assert.deepEqual(faults, []);
  });

  it('keeps pod/ synchronous', () => {
    const faults = sources
      .filter(({ name }) => name.startsWith('pod/'))
      .flatMap((source) => [...source.code.matchAll(/(?<![.\w$])(?:async|await|Promise)\b(?!\s*\??:)/g)].map((found) => at(source, found)));
    assert.deepEqual(faults, []);
  });

  it('throws only its own errors in src/', () => {
    const faults = sources
      .filter(({ name }) => !isGenerated(name))
      .flatMap((source) => [...source.code.matchAll(/\bthrow new (?:Error|TypeError|RangeError)\b/g)].map((found) => at(source, found)));
    assert.deepEqual(faults, []);
  });

  it('has no module-level let, no default export, no barrel file', () => {
    const faults = sources
      .filter(({ name }) => !isGenerated(name))
      .flatMap((source) => [
        ...[...source.code.matchAll(/^(?:export )?let |^export default\b|^export \* /gm)].map((found) => at(source, found)),
        ...(path.posix.basename(source.name) === 'index.ts' ? [`${source.name}: a barrel file`] : []),
      ]);
    assert.deepEqual(faults, []);
  });

  it('has a header comment in every file', () => {
    const faults = sources.filter(({ text }) => !/^(?:#![^\n]*\n)?\s*(?:\/\/|\/\*)/.test(text)).map(({ name }) => name);
    assert.deepEqual(faults, []);
  });
});

describe('the reader of the architecture test', () => {
  const example = `import type { A } from '../api/a.ts';
import {
  b, // from 'nowhere'
} from './b.ts';
export { c } from "ignored";
/* import x from './x.ts'; */
const lazy = () => import('@scope/pack/deep');
const text = 'new Date()';
const pattern = /'/; const now = Date.now();`;

  it('sees every kind of import and no comment', () => {
    const found = importsOf(strip(example, false)).map((i) => i.specifier);
    assert.deepEqual(found, ['../api/a.ts', './b.ts', '@scope/pack/deep']);
    assert.equal(packageOf('@scope/pack/deep'), '@scope/pack');
  });

  it('sees code behind a regular expression and none in strings', () => {
    assert.equal([...strip(example, true).matchAll(/\bDate\b/g)].length, 1);
  });

  it('finds a cycle', () => {
    const graph = new Map([
      ['a', ['b']],
      ['b', ['c']],
      ['c', ['a']],
      ['d', ['a']],
    ]);
    assert.deepEqual(cycles(graph), ['a → b → c → a']);
  });
});

function at(source: Source, found: RegExpExecArray): string {
  return `${source.name}: ${found[0].trim()} (… ${source.code.slice(Math.max(0, found.index - 30), found.index + 30).replaceAll(/\s+/g, ' ')} …)`;
}

/** One cycle through each group of files that import each other in a circle. */
function cycles(graph: ReadonlyMap<string, readonly string[]>): readonly string[] {
  const state = new Map<string, 'open' | 'done'>();
  const found: string[] = [];
  const visit = (name: string, trail: readonly string[]): void => {
    if (state.get(name) === 'done') return;
    if (state.get(name) === 'open') {
      found.push([...trail.slice(trail.indexOf(name)), name].join(' → '));
      return;
    }
    state.set(name, 'open');
    for (const next of graph.get(name) ?? []) visit(next, [...trail, name]);
    state.set(name, 'done');
  };
  for (const name of graph.keys()) visit(name, []);
  return found;
}
