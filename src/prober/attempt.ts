// One attempt of a probe of any kind, tried again at once when it could not be made (L-409).
import type { Runtime } from '../runtime/runtime.ts';
import type { Clock } from '../std/clock.ts';
import { probeExec } from './exec-probe.ts';
import { probeGrpc } from './grpc-probe.ts';
import { probeHttp } from './http-probe.ts';
import type { ProbeOutcome, ProbeTarget } from './outcome.ts';
import { probeTcp } from './tcp-probe.ts';

export interface AttemptDeps {
  readonly runtime: Pick<Runtime, 'execSync'>;
  readonly clock: Clock;
}

const maxTries = 3;

/** Never rejects but with `signal.reason`. */
export async function attempt(target: ProbeTarget, deps: AttemptDeps, options: { readonly signal: AbortSignal }): Promise<ProbeOutcome> {
  for (let tries = 1; ; tries++) {
    const outcome = await tryOnce(target, deps, options.signal);
    if (outcome.kind !== 'error' || tries === maxTries) return outcome;
  }
}

async function tryOnce(target: ProbeTarget, { runtime, clock }: AttemptDeps, signal: AbortSignal): Promise<ProbeOutcome> {
  const { probe } = target;
  const timeoutSeconds = probe.timeoutSeconds ?? 1;
  const options = { timeoutMs: timeoutSeconds * 1000, signal, clock };
  if (probe.exec !== undefined) return probeExec(probe.exec, target, { timeoutSeconds, signal, runtime });
  if (probe.httpGet !== undefined) return probeHttp(probe.httpGet, target, options);
  if (probe.tcpSocket !== undefined) return probeTcp(probe.tcpSocket, target, options);
  if (probe.grpc !== undefined) return probeGrpc(probe.grpc, target, options);
  return { kind: 'error', message: `missing probe handler for ${target.container.name}` };
}
