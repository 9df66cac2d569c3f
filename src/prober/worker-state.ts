// The decisions of one probe worker, as a pure state machine (L-399 … L-407). What a worker sees and what came of an
// attempt go in; the result in force and what to do next come out.
//
//             new container id                     attempt ok / threshold reached
//     (none) ─────────────────► waiting ─► probing ──────────────────────────────► result in force
//                                  ▲          │  liveness failed, startup decided
//                                  └── hold ◄─┘  (until the next container id)
import type { Probe } from '../api/gen/kubernetes.ts';
import type { ObservedContainerState } from '../pod/observation.ts';
import type { ProbeKind, ProbeResult } from '../pod/probe-results.ts';
import type { Instant } from '../std/clock.ts';

/** What the worker's container looks like now. */
export interface WorkerView {
  /** Undefined while there is no container of that name. */
  readonly container:
    | {
        readonly id: string;
        readonly state: ObservedContainerState;
        readonly startedAt: Instant | undefined;
        readonly mayRunAgain: boolean;
      }
    | undefined;
  /** The Pod completed or failed. */
  readonly podIsOver: boolean;
  /** The container has passed its startup probe, or has none (L-420). */
  readonly started: boolean;
  /** The status published before says so of this very container (L-407). */
  readonly wasStarted: boolean;
  /** So does it of this. */
  readonly wasReady: boolean;
}

export interface WorkerState {
  readonly containerId: string | undefined;
  /** The result in force; undefined when there is none. */
  readonly result: ProbeResult | undefined;
  readonly onHold: boolean;
  readonly last: 'success' | 'failure' | undefined;
  /** How often `last` came in a row. */
  readonly run: number;
}

export const initialState: WorkerState = { containerId: undefined, result: undefined, onHold: false, last: undefined, run: 0 };

export type Step =
  | { readonly kind: 'end' }
  /** Nothing to do before the view changes. */
  | { readonly kind: 'wait' }
  /** To be probed from `from` on. */
  | { readonly kind: 'probe'; readonly from: Instant };

export interface WorkerSpec {
  readonly kind: ProbeKind;
  readonly probe: Probe;
  readonly agentStartedAt: Instant;
}

const initialResults: Readonly<Record<ProbeKind, ProbeResult>> = { startup: 'unknown', liveness: 'success', readiness: 'failure' };

/** Containers that ran this much longer than the agent keep what they had (L-407). */
const adoptedMs = 10_000;

/** Takes in what is seen now. */
export function observe(state: WorkerState, view: WorkerView, spec: WorkerSpec): { readonly state: WorkerState; readonly step: Step } {
  if (view.podIsOver) return { state, step: { kind: 'end' } };
  const { container } = view;
  if (container === undefined) return { state, step: { kind: 'wait' } };

  // A record that never ran has nothing to say yet; its id counts from its start.
  if (container.state === 'created') return { state, step: { kind: 'wait' } };
  const seen = container.id === state.containerId ? state : adopt(state, view, container, spec);
  if (container.state !== 'running') {
    const step: Step = container.mayRunAgain ? { kind: 'wait' } : { kind: 'end' };
    return { state: seen.onHold ? seen : { ...seen, result: 'failure' }, step };
  }
  const isWanted = spec.kind === 'startup' ? !view.started : view.started;
  if (seen.onHold || !isWanted) return { state: seen, step: { kind: 'wait' } };
  const from = (container.startedAt ?? 0) + (spec.probe.initialDelaySeconds ?? 0) * 1000;
  return { state: seen, step: { kind: 'probe', from } };
}

/** Counters go on over a new container id, as the kubelet's do (L-401). */
function adopt(state: WorkerState, view: WorkerView, container: NonNullable<WorkerView['container']>, spec: WorkerSpec): WorkerState {
  const wasBefore = container.startedAt !== undefined && container.startedAt < spec.agentStartedAt - adoptedMs;
  const isKept = (spec.kind === 'startup' && view.wasStarted) || (spec.kind === 'readiness' && view.wasReady);
  const initial = wasBefore ? undefined : initialResults[spec.kind];
  const result = isKept ? 'success' : initial;
  return { ...state, containerId: container.id, result, onHold: false };
}

/** Takes in what an attempt came to: thresholds (L-403), hold (L-404). Errors are not handed in (L-409). */
export function conclude(state: WorkerState, outcome: 'success' | 'failure', { kind, probe }: WorkerSpec): WorkerState {
  const run = state.last === outcome ? state.run + 1 : 1;
  const counted: WorkerState = { ...state, last: outcome, run };
  const threshold = outcome === 'success' ? (probe.successThreshold ?? 1) : (probe.failureThreshold ?? 3);
  if (run < threshold) return counted;
  const decides = kind === 'startup' || (kind === 'liveness' && outcome === 'failure');
  return { ...counted, result: outcome, ...(decides ? { onHold: true, run: 0 } : {}) };
}
