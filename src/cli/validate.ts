// `pinpod validate FILE|DIR|-`: the whole check of manifests, with no agent and no runtime: for editors, commit hooks and
// CI. It reads a folder as the agent would, and says the same of each manifest.
import { decodeManifest } from '../api/decode.ts';
import type { Problem } from '../api/problem.ts';
import { toStaticPod } from '../source/static-pod.ts';
import { type InputIo, type ManifestFile, readManifests } from './manifest-files.ts';
import { formatProblem } from './manifests.ts';

export interface ValidateArgs {
  /** Files, folders (not their subfolders) and `-`. */
  readonly paths: readonly string[];
  readonly output?: 'json' | undefined;
  /** The name that Pods get as suffix: its length counts. `node` when not given, so that output is the same everywhere. */
  readonly nodeName?: string | undefined;
}

/** What the agent would make of one manifest. */
export interface ValidatedManifest {
  readonly path: string;
  readonly verdict: 'accepted' | 'rejected' | 'ignored';
  /** `<namespace>/<name>` without the node's suffix, in the manifest's order. */
  readonly pods: readonly string[];
  readonly problems: readonly Problem[];
  readonly why?: string | undefined;
}

/** Pure: the verdicts of these manifests in their order. A Pod that an earlier one has already is a problem of the later. */
export function validateFiles(files: readonly ManifestFile[], options: { readonly nodeName: string }): readonly ValidatedManifest[] {
  const owners = new Map<string, string>();
  return files.map(({ path: file, content }): ValidatedManifest => {
    if ('why' in content) return { path: file, verdict: 'ignored', pods: [], problems: [], why: content.why };
    if ('problem' in content) return { path: file, verdict: 'rejected', pods: [], problems: [content.problem] };
    const pods: string[] = [];
    const problems: Problem[] = [];
    for (const document of decodeManifest(content.bytes)) {
      const made = toStaticPod(document, { source: 'file', nodeName: options.nodeName, path: file });
      if ('problems' in made) problems.push(...made.problems);
      const { name, namespace } = document.pod?.metadata ?? {};
      if (name === undefined || name === '') continue;
      const key = `${namespace || 'default'}/${name}`;
      pods.push(key);
      const owner = owners.get(key);
      if (owner === undefined) owners.set(key, file);
      else {
        const place = owner === file ? 'earlier in this file' : `in ${owner}`;
        problems.push({
          field: 'metadata.name',
          message: `Duplicate value: "${key}": also ${place}, which wins`,
          ...document.locate('metadata.name'),
        });
      }
    }
    problems.sort((a, b) => (a.line ?? 0) - (b.line ?? 0) || (a.column ?? 0) - (b.column ?? 0));
    return { path: file, verdict: problems.length === 0 ? 'accepted' : 'rejected', pods, problems };
  });
}

/** The exit code: 0 when every manifest is good, 1 when one is not or nothing could be read. */
export async function runValidate(args: ValidateArgs, io: InputIo): Promise<number> {
  const files = await readManifests(args.paths, io);
  const manifests = validateFiles(files, { nodeName: args.nodeName ?? 'node' });
  const rejected = manifests.filter(({ verdict }) => verdict === 'rejected').length;
  if (args.output === 'json') {
    await io.out(`${JSON.stringify({ valid: rejected === 0, manifests }, undefined, 2)}\n`);
    return rejected === 0 ? 0 : 1;
  }
  const lines = manifests.flatMap((manifest) => manifest.problems.map((problem) => formatProblem(manifest.path, problem)));
  if (lines.length > 0) await io.out(`${lines.join('\n')}\n`);
  for (const { path: file, why } of manifests) if (why !== undefined) await io.err(`${file}: ignored: ${why}\n`);
  const checked = manifests.filter(({ verdict }) => verdict !== 'ignored').length;
  await io.err(`${checked} ${checked === 1 ? 'manifest' : 'manifests'} checked, ${rejected} with problems\n`);
  return rejected === 0 ? 0 : 1;
}
