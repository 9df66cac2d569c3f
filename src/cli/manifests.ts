// `pinpod manifests`: what became of every manifest, and why (D5).
import type { Problem } from '../api/problem.ts';
import type { AgentClient, CommandIo } from './client.ts';
import { formatTable } from './table.ts';

export interface ManifestsOptions {
  readonly output?: 'json' | undefined;
}

type Verdict =
  | { readonly kind: 'accepted'; readonly waiting?: string }
  | { readonly kind: 'rejected'; readonly problems: readonly Problem[]; readonly keptPods: boolean }
  | { readonly kind: 'shadowed'; readonly by: string }
  | { readonly kind: 'ignored'; readonly why: string };

interface Answer {
  readonly sources: readonly { readonly source: string; readonly location: string; readonly readAt?: string; readonly fault?: string }[];
  readonly manifests: readonly { readonly path: string; readonly index?: number; readonly pod?: string; readonly verdict: Verdict }[];
}

/** `file:line:column: field: message`, as compilers print it. */
export function formatProblem(path: string, problem: Problem): string {
  const place = problem.line === undefined ? path : `${path}:${problem.line}${problem.column === undefined ? '' : `:${problem.column}`}`;
  return problem.field === '' ? `${place}: ${problem.message}` : `${place}: ${problem.field}: ${problem.message}`;
}

function detail(verdict: Verdict): string {
  switch (verdict.kind) {
    case 'accepted':
      return verdict.waiting ?? '';
    case 'rejected':
      return `${verdict.problems.length} problem${verdict.problems.length === 1 ? '' : 's'}${verdict.keptPods ? '; the last good version keeps running' : ''}`;
    case 'shadowed':
      return `the same Pod comes from ${verdict.by}`;
    case 'ignored':
      return verdict.why;
  }
}

/** The exit code: 1 when a manifest is rejected or a source cannot be read, so that scripts can ask. */
export async function manifests(
  options: ManifestsOptions,
  deps: { readonly client: AgentClient; readonly io: CommandIo },
): Promise<number> {
  const { client, io } = deps;
  const answer = (await client.json('/pinpod/v1/manifests', { signal: io.signal })) as Answer;
  const isBad = answer.manifests.some((m) => m.verdict.kind === 'rejected') || answer.sources.some((s) => s.fault !== undefined);
  if (options.output === 'json') {
    await io.out(`${JSON.stringify(answer, undefined, 2)}\n`);
    return isBad ? 1 : 0;
  }
  for (const source of answer.sources) {
    if (source.fault !== undefined) await io.err(`${source.location}: ${source.fault}; its last good Pods keep running\n`);
  }
  if (answer.manifests.length === 0) {
    const places = answer.sources.map((s) => s.location).join(', ');
    await io.err(places === '' ? 'No source of manifests is configured.\n' : `No manifests found in ${places}.\n`);
    return isBad ? 1 : 0;
  }
  const rows = answer.manifests.map((m) => [
    m.index === undefined ? m.path : `${m.path}[${m.index}]`,
    m.pod ?? '<none>',
    m.verdict.kind,
    detail(m.verdict),
  ]);
  await io.out(formatTable([['MANIFEST', 'POD', 'VERDICT', 'DETAIL'], ...rows]).replaceAll(/ +$/gm, ''));
  for (const { path, verdict } of answer.manifests) {
    if (verdict.kind === 'rejected') for (const problem of verdict.problems) await io.out(`${formatProblem(path, problem)}\n`);
  }
  return isBad ? 1 : 0;
}
