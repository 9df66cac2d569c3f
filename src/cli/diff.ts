// `pinpod diff FILE|DIR|-`: what these manifests would change on this machine, as the running agent would decide it.
import path from 'node:path';
import type { FieldChange } from '../api/field-changes.ts';
import type { Problem } from '../api/problem.ts';
import { type AgentClient, CommandError } from './client.ts';
import { type InputIo, type ManifestFile, readManifests } from './manifest-files.ts';
import { formatProblem } from './manifests.ts';

export interface DiffArgs {
  readonly paths: readonly string[];
  readonly output?: 'json' | undefined;
  /** They take the place of everything in the agent's folder: what is not among them would be gone. */
  readonly prune: boolean;
}

type Verdict =
  | { readonly kind: 'accepted' }
  | { readonly kind: 'rejected'; readonly problems: readonly Problem[]; readonly keptPods: boolean }
  | { readonly kind: 'shadowed'; readonly by: string }
  | { readonly kind: 'ignored'; readonly why: string };

interface PodDifference {
  readonly pod: string;
  readonly manifest: string;
  readonly change: 'unchanged' | 'new' | 'updated' | 'replaced' | 'removed';
  readonly reasons: readonly string[];
  readonly fields: readonly FieldChange[];
  readonly containers: readonly { readonly name: string; readonly change: string; readonly reason?: string }[];
  readonly refusal?: { readonly reason: string; readonly message: string };
}

interface Answer {
  readonly manifests: readonly { readonly given: string; readonly path: string; readonly verdict: Verdict }[];
  readonly pods: readonly PodDifference[];
}

/** As of `kubectl diff`: 0 nothing would change, 1 something would, 2 it cannot be told. */
export async function diff(args: DiffArgs, deps: { readonly client: AgentClient; readonly io: InputIo }): Promise<number> {
  try {
    return await compare(args, deps);
  } catch (error) {
    if (!(error instanceof CommandError)) throw error;
    await deps.io.err(`error: ${error.message}\n`);
    return 2;
  }
}

async function compare({ paths, output, prune }: DiffArgs, { client, io }: Parameters<typeof diff>[1]): Promise<number> {
  const read = await readManifests(paths, io);
  const unreadable = read.flatMap(({ path: file, content }) => ('problem' in content ? [formatProblem(file, content.problem)] : []));
  if (unreadable.length > 0) throw new CommandError(unreadable.join('\n'));
  const files = read.flatMap(toRequest);
  const shown = new Map(read.map(({ path: file }) => [absolute(file), file]));
  const answer = (await client.json('/pinpod/v1/diff', { signal: io.signal, body: { files, prune } })) as Answer;
  const problems = answer.manifests.flatMap(({ given, verdict }) =>
    verdict.kind === 'rejected' ? verdict.problems.map((problem) => formatProblem(shown.get(given) ?? given, problem)) : [],
  );
  const changed = answer.pods.filter(({ change }) => change !== 'unchanged');
  if (output === 'json') await io.out(`${JSON.stringify(answer, undefined, 2)}\n`);
  else {
    for (const pod of changed) await io.out(`${describe(pod).join('\n')}\n`);
    for (const line of problems) await io.err(`${line}\n`);
    for (const { given, verdict } of answer.manifests) {
      const file = shown.get(given) ?? given;
      if (verdict.kind === 'shadowed') await io.err(`${file}: without effect: the same Pod comes from ${verdict.by}\n`);
      if (verdict.kind === 'ignored') await io.err(`${file}: ignored: ${verdict.why}\n`);
      if (verdict.kind === 'rejected' && verdict.keptPods) await io.err(`${file}: the last good version would keep running\n`);
    }
  }
  if (problems.length > 0) return 2;
  return changed.length > 0 ? 1 : 0;
}

function absolute(file: string): string {
  return file === '<stdin>' ? '-' : path.resolve(file);
}

function toRequest({ path: file, content }: ManifestFile): readonly { readonly path: string; readonly content: string }[] {
  return 'bytes' in content ? [{ path: absolute(file), content: Buffer.from(content.bytes).toString('base64') }] : [];
}

function describe({ pod, manifest, change, reasons, fields, containers, refusal }: PodDifference): readonly string[] {
  return [
    `${pod}: ${change} (${manifest})`,
    ...reasons.map((reason) => `  ${reason}`),
    ...(refusal === undefined ? [] : [`  it would not be admitted now: ${refusal.reason}: ${refusal.message}`]),
    ...fields.flatMap((field) => [
      ...('from' in field ? [`  - ${field.path}: ${JSON.stringify(field.from)}`] : []),
      ...('to' in field ? [`  + ${field.path}: ${JSON.stringify(field.to)}`] : []),
    ]),
    ...containers.map(({ name, change: what, reason }) => `  container ${name}: ${what}${reason === undefined ? '' : ` (${reason})`}`),
  ];
}
