// Writes docs/conformance.md: for every rule and scenario of the specification which tests check it, or why none does.
// A rule counts as tested when the name of a test (or of a row of its table) cites its number; comments and messages of
// assertions do not count. Fails when a number has no test and no reason, and when a test cites a number that does not exist.
// Run with: npm run generate:conformance; with --check it only compares.
import { execFileSync } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';

import { parseSync } from 'oxc-parser';

interface Rule {
  /** Scenarios of the last two parts share numbers: `http C-301`, else as cited. */
  readonly key: string;
  readonly number: string;
  readonly title: string;
  /** Why it is outside. */
  readonly outside: string | undefined;
  /** The number of the rule that says the same. */
  readonly same: string | undefined;
}

const root = path.join(import.meta.dirname, '..');
const target = path.join(root, 'docs', 'conformance.md');
const read = (file: string): string => readFileSync(path.join(root, file), 'utf8');

const parts = [
  { file: 'test/conformance/sources.txt', title: 'Sources, identity, validation, mirror Pods and Node' },
  { file: 'test/conformance/lifecycle.txt', title: 'The life of Pods' },
  { file: 'test/conformance/http.txt', title: 'HTTP interfaces, configuration, metrics' },
];
/** Which of two scenarios of one number is meant. */
const isOfHttp = (file: string): boolean =>
  /^(src\/(server|config|cli)\/|test\/integration\/(?!logind)|test\/e2e\/(kubectl|cluster|client|api))|\/http\.txt$/.test(file);
const keyOf = (number: string, file: string): string => (isOfHttp(file) && /^C-[3-5]/.test(number) ? `http ${number}` : number);

/** A citation of more numbers than this at once cannot be true. */
const longestRange = 10;

function rulesOf(file: string): readonly Rule[] {
  return read(file)
    .split('\n')
    .filter((line) => line !== '' && !line.startsWith('#'))
    .map((line) => {
      const match = /^([SLHC]-\d{3}[a-z]?) ([^|]+?)(?: \| (.+))?$/.exec(line);
      if (match === null) throw new Error(`${file}: not a rule: ${line}`);
      const [, number = '', title = '', remark] = match;
      const same = remark === undefined ? undefined : /^= (\S+)$/.exec(remark)?.[1];
      const outside = same === undefined ? remark : undefined;
      return { key: keyOf(number, file), number, title, outside, same: same === undefined ? undefined : keyOf(same, file) };
    });
}

const sections = parts.map((part) => ({ ...part, rules: rulesOf(part.file) }));
const all = sections.flatMap((section) => section.rules);
const places = new Map(all.map(({ key }, place) => [key, place]));
const problems: string[] = [];

const placeOf = (number: string, file: string): number | undefined =>
  places.get(keyOf(number, file)) ?? places.get(number) ?? places.get(`http ${number}`);

/** The keys of the numbers in a text of `file`. `L-380 … L-382` are three. */
function keysIn(text: string, file: string): readonly string[] {
  const found: string[] = [];
  const number = '[SLHC]-\\d{3}[a-z]?';
  for (const [cited, from = '', to] of text.matchAll(new RegExp(`\\b(${number})(?: … (${number}))?(?![\\da-z-])`, 'g'))) {
    const [first, last] = [placeOf(from, file), placeOf(to ?? from, file)];
    if (first === undefined || last === undefined) problems.push(`${cited} is cited in ${file} but does not exist`);
    else if (last - first >= longestRange) problems.push(`${cited} in ${file}: cite what is checked`);
    else for (let place = first; place <= last; place++) found.push(all[place]?.key ?? '');
  }
  return found;
}

/** All strings of a test file but those given to assertions. */
function* stringsOf(node: unknown): Generator<string> {
  if (Array.isArray(node)) {
    for (const child of node) yield* stringsOf(child);
    return;
  }
  if (typeof node !== 'object' || node === null) return;
  const n = node as { type?: string; callee?: { name?: string; object?: { name?: string } }; value?: unknown };
  if (n.type === 'Literal' && typeof n.value === 'string') yield n.value;
  if (n.type === 'TemplateElement') yield (n.value as { cooked: string | null }).cooked ?? '';
  if (n.type === 'CallExpression' && (n.callee?.name ?? n.callee?.object?.name) === 'assert') return;
  for (const child of Object.values(node)) yield* stringsOf(child);
}

/** Key → the files whose test names cite it. */
function citations(): Map<string, Set<string>> {
  const listed = execFileSync('git', ['ls-files', '--cached', '--others', '--exclude-standard', '*.test.ts', '*-suite.ts'], {
    cwd: root,
    encoding: 'utf8',
  });
  const cited = new Map<string, Set<string>>();
  for (const file of new Set(listed.trim().split('\n').sort())) {
    const { program, errors } = parseSync(file, read(file));
    if (errors.length > 0) throw new Error(`${file}: ${errors[0]?.message}`);
    for (const text of stringsOf(program)) {
      for (const key of keysIn(text, file)) cited.set(key, (cited.get(key) ?? new Set()).add(file));
    }
  }
  return cited;
}

/** Key → what pinpod does instead, from the tables of docs/differences-from-kubelet.md. */
function differences(): Map<string, string> {
  const differs = new Map<string, string>();
  for (const line of read('docs/differences-from-kubelet.md').split('\n')) {
    const [, rules = '', , pinpod = ''] = line.split('|').map((cell) => cell.trim());
    for (const key of keysIn(rules, 'docs/differences-from-kubelet.md')) {
      const before = differs.get(key);
      differs.set(key, before === undefined ? pinpod : `${before}; ${pinpod}`);
    }
  }
  return differs;
}

const cited = citations();
const differs = differences();
for (const { key, title, outside, same } of all) {
  if (same !== undefined && !places.has(same)) problems.push(`${key} refers to ${same}, which does not exist`);
  if ((outside ?? same) === undefined && !differs.has(key) && !cited.has(key))
    problems.push(`${key} (${title}) has neither test nor reason`);
  if (outside !== undefined && cited.has(key))
    problems.push(`${key} (${title}) is tested: take what follows its title out of test/conformance`);
}

const link = (file: string): string => `[${file.replace(/^src\//, '').replace(/\.test\.ts$/, '')}](../${file})`;

function cell({ key, outside, same }: Rule): string {
  const files = [...(cited.get(key) ?? [])].map(link).join(', ');
  const why = differs.get(key);
  return [
    ...(why === undefined ? [] : [`differs: ${why}`]),
    ...(outside === undefined ? [] : [`outside: ${outside}`]),
    ...(same === undefined || files !== '' ? [] : [`see ${same.replace('http ', '')}`]),
    ...(files === '' ? [] : [`tested: ${files}`]),
  ].join('; ');
}

const count = (holds: (rule: Rule) => boolean): number => all.filter(holds).length;
const text = `<!-- Made by scripts/generate-conformance.ts from the names of the tests, test/conformance/*.txt and differences-from-kubelet.md. -->

# Conformance

For every rule and every scenario of the specification: the tests whose names cite it, or why it differs
([differences from the kubelet](differences-from-kubelet.md)) or is outside. Of ${all.length} numbers ${count((r) => cited.has(r.key))} are tested,
${count((r) => differs.has(r.key))} differ, ${count((r) => r.outside !== undefined)} are outside, and ${count((r) => r.same !== undefined && !cited.has(r.key))} say what another number says; a number may be more than one of these.
${sections
  .map(
    (section) => `
## ${section.title}

| Number | What | How it stands |
| --- | --- | --- |
${section.rules.map((rule) => `| ${rule.number} | ${rule.title} | ${cell(rule)} |`).join('\n')}
`,
  )
  .join('')}`;

if (problems.length > 0) {
  console.error(problems.join('\n'));
  process.exitCode = 1;
} else if (process.argv.includes('--check')) {
  if (read('docs/conformance.md') !== text) {
    console.error('docs/conformance.md is not up to date: npm run generate:conformance');
    process.exitCode = 1;
  }
} else {
  writeFileSync(target, text);
}
