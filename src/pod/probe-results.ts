// What the prober knows of one Pod's containers, as the planner reads it (L-420 … L-423).

export type ProbeKind = 'startup' | 'liveness' | 'readiness';

export const probeKinds: readonly ProbeKind[] = ['startup', 'liveness', 'readiness'];

/** `unknown`: a startup probe that has not decided yet (L-401). */
export type ProbeResult = 'success' | 'failure' | 'unknown';

/** The results in force of one container; a kind is absent when there is no result at all. */
export interface ContainerProbeResults {
  readonly startup?: ProbeResult;
  readonly liveness?: ProbeResult;
  readonly readiness?: ProbeResult;
}

export interface ProbeResults {
  /** By container id: a restarted container begins without results. */
  readonly byContainerId: ReadonlyMap<string, ContainerProbeResults>;
  /** Which probes are being run, by container name. A kind stays listed until its worker ends. */
  readonly workers: ReadonlyMap<string, ReadonlySet<ProbeKind>>;
}

export const noProbeResults: ProbeResults = { byContainerId: new Map(), workers: new Map() };
