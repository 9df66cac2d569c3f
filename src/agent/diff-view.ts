// What other manifests would do to this machine: the sources' own merge and the planner are asked, nothing is acted on.
import path from 'node:path';
import type { Pod } from '../api/pod.ts';
import type { PlanOptions } from '../pod/draft.ts';
import { forecastPod } from '../pod/forecast.ts';
import type { ObservedPod } from '../pod/observation.ts';
import type { Combined, PodConfig } from '../podconfig/pod-config.ts';
import type { Differences, DiffView, PodDifference, ProposedManifest } from '../server/diff-api.ts';
import type { FileSource } from '../source/file.ts';
import type { ManifestReport } from '../source/source.ts';
import type { StatusView } from '../status/status-store.ts';
import type { Clock } from '../std/clock.ts';

export interface DiffViewDeps {
  /** The folder of manifests, or the one file; undefined where there is none. */
  readonly folder: () => { readonly source: Pick<FileSource, 'preview'>; readonly path: string } | undefined;
  readonly podConfig: Pick<PodConfig, 'desired' | 'manifests' | 'preview'>;
  readonly status: Pick<StatusView, 'get'>;
  readonly observe: (uid: string, options: { readonly signal: AbortSignal }) => Promise<ObservedPod>;
  /** Why the Pod would not be admitted now, beside the others. */
  readonly refusalOf: (pod: Pod) => PodDifference['refusal'];
  readonly planOptions: () => PlanOptions;
  readonly clock: Clock;
}

export function diffView(deps: DiffViewDeps): DiffView {
  return {
    async diff(proposed, { prune, signal }) {
      const { podConfig } = deps;
      const folder = deps.folder();
      if (folder === undefined) return undefined;
      const { source } = folder;
      const before = podConfig.manifests();
      const contents = new Map<string, Uint8Array | undefined>();
      if (prune) for (const { path: file } of before) if (isInFolder(file, folder.path)) contents.set(file, undefined);
      const givenBy = new Map<string, string>();
      const names = namesIn(source, proposed);
      for (const manifest of proposed) {
        const target = targetOf(manifest.path, folder.path, names.get(manifest.path) ?? [], before);
        contents.set(target, manifest.bytes);
        givenBy.set(target, manifest.path);
      }
      const after = podConfig.preview(source.preview(contents));
      const manifests = after.manifests.flatMap((report) => {
        const given = givenBy.get(report.path);
        return given === undefined ? [] : [{ ...report, given }];
      });
      const pods = await differences(deps, after, new Set(manifests.flatMap(({ pod }) => pod ?? [])), signal);
      return { manifests, pods };
    },
  };
}

async function differences(
  deps: DiffViewDeps,
  after: Combined,
  proposed: ReadonlySet<string>,
  signal: AbortSignal,
): Promise<Differences['pods']> {
  const { podConfig, clock } = deps;
  const current = byName(podConfig.desired());
  const wanted = byName(after.desired);
  const result: PodDifference[] = [];
  for (const name of [...new Set([...current.keys(), ...wanted.keys()])].sort()) {
    const from = current.get(name);
    const to = wanted.get(name);
    if (from === to && !proposed.has(name)) continue;
    const view = from === undefined ? undefined : deps.status.get(from.metadata.uid);
    const forecast = forecastPod({
      current: from,
      wanted: to,
      observed: from === undefined ? { uid: '', sandboxes: [], containers: [] } : await deps.observe(from.metadata.uid, { signal }),
      isFinished: view?.stage === 'terminated' && !view.leaving,
      now: clock.now(),
      options: deps.planOptions(),
    });
    const starts = to !== undefined && (forecast.change === 'new' || forecast.change === 'replaced');
    const refusal = starts ? deps.refusalOf(to) : undefined;
    const manifest = manifestOf(name, after.manifests) ?? manifestOf(name, podConfig.manifests()) ?? '';
    result.push({ pod: name, manifest, ...forecast, ...(refusal === undefined ? {} : { refusal }) });
  }
  return result;
}

/** The file that a proposed manifest would be: itself, the one that has its Pod now, or a new one in the folder. */
function targetOf(given: string, manifestPath: string, pods: readonly string[], before: readonly ManifestReport[]): string {
  if (given === manifestPath || path.dirname(given) === manifestPath) return given;
  const owner = before.find(
    ({ path: file, pod, verdict }) =>
      pod !== undefined && pods.includes(pod) && verdict.kind !== 'shadowed' && isInFolder(file, manifestPath),
  );
  if (owner !== undefined) return owner.path;
  if (before.some(({ path: file }) => file === manifestPath)) return manifestPath;
  return path.join(manifestPath, given === '-' ? `${pods[0]?.split('/')[1] ?? 'stdin'}.yaml` : path.basename(given));
}

/** Names of the Pods in each manifest by the path it was given with, wherever it would be put. */
function namesIn(source: Pick<FileSource, 'preview'>, proposed: readonly ProposedManifest[]): ReadonlyMap<string, readonly string[]> {
  const names = new Map<string, string[]>(proposed.map(({ path: given }) => [given, []]));
  const { manifests } = source.preview(new Map(proposed.map(({ path: given, bytes }) => [given, bytes])));
  for (const { path: file, pod } of manifests) if (pod !== undefined) names.get(file)?.push(pod);
  return names;
}

function isInFolder(file: string, manifestPath: string): boolean {
  return file === manifestPath || path.dirname(file) === manifestPath;
}

function manifestOf(pod: string, reports: readonly ManifestReport[]): string | undefined {
  return reports.find((report) => report.pod === pod && report.verdict.kind !== 'shadowed')?.path;
}

function byName(pods: ReadonlyMap<string, Pod>): ReadonlyMap<string, Pod> {
  return new Map([...pods.values()].map((pod) => [`${pod.metadata.namespace}/${pod.metadata.name}`, pod]));
}
