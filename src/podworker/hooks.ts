// Runs the lifecycle hooks of containers: exec, httpGet and sleep (L-425 … L-433, L-437, L-438). What came of a hook is
// a value; what follows from it is the planner's business.
import type { EventSink } from '../api/events.ts';
import type { Container, HTTPGetAction, LifecycleHandler } from '../api/gen/kubernetes.ts';
import { formatPod, type Pod } from '../api/pod.ts';
import { containerObject } from '../pod/event-object.ts';
import { httpActionRequest } from '../pod/http-action.ts';
import type { CallOptions, Runtime } from '../runtime/runtime.ts';
import { Deadline } from '../std/async.ts';
import type { Clock } from '../std/clock.ts';
import { withDeadline } from '../std/deadline.ts';
import { messageOf, RuntimeError } from '../std/errors.ts';
import { HttpGetError, hostPort, httpGet } from '../std/http-get.ts';
import type { Logger } from '../std/log.ts';
import type { Counter, Metrics } from '../std/metrics.ts';

export interface HookRequest {
  readonly pod: Pod;
  readonly container: Container;
  readonly containerId: string;
  readonly handler: LifecycleHandler;
  /** Where `httpGet` without a host goes: the Pod's first IP, for a host-network Pod the node's; undefined when there is none. */
  readonly podAddress: string | undefined;
}

export type HookResult =
  | { readonly kind: 'done' }
  /** The time given is over; the hook was ended. */
  | { readonly kind: 'timedOut' }
  | {
      readonly kind: 'failed';
      /** For the container's status; events leave the details out. */
      readonly message: string;
      /** The runtime went away in the midst of it: how far the hook came is not known. */
      readonly isUnanswered?: boolean;
    };

/** What is said and done about a failed hook (L-432, L-438). */
export const failedHook = {
  postStart: { reason: 'PostStartHookError', eventReason: 'FailedPostStartHook', eventMessage: 'PostStartHook failed' },
  preStop: { reason: 'PreStopHookError', eventReason: 'FailedPreStopHook', eventMessage: 'PreStopHook failed' },
} as const;

export interface HookRunnerDeps {
  readonly runtime: Pick<Runtime, 'execSync'>;
  readonly clock: Clock;
  readonly events: EventSink;
  readonly logger: Logger;
  readonly metrics: Metrics;
}

const userAgent = 'kube-lifecycle/1.36';
const maxBodyBytes = 10 * 1024;

type Outcome = Exclude<HookResult, { kind: 'timedOut' }>;

export class HookRunner {
  readonly #deps: HookRunnerDeps;
  readonly #fallbacks: Counter;
  readonly #sleepsCutShort: Counter;

  constructor(deps: HookRunnerDeps) {
    this.#deps = deps;
    // H-398.
    this.#fallbacks = deps.metrics.counter({
      name: 'kubelet_lifecycle_handler_http_fallbacks_total',
      help: '[ALPHA] Hooks for HTTPS that succeeded over plain HTTP',
    });
    this.#sleepsCutShort = deps.metrics.counter({
      name: 'kubelet_sleep_action_terminated_early_total',
      help: '[ALPHA] Sleeping hooks that were ended before their time',
    });
  }

  /**
   * Runs a postStart hook to its end, however long it takes (L-431). Records `FailedPostStartHook` when it fails. Only
   * an abort rejects, with `signal.reason`; the hook's command or request is then ended.
   */
  async postStart(request: HookRequest, { signal }: CallOptions): Promise<Exclude<HookResult, { kind: 'timedOut' }>> {
    const result = await this.#run(request, signal);
    if (result.kind === 'failed') this.#failed(request, 'postStart', result.message);
    return result;
  }

  /**
   * Runs a preStop hook for at most `timeoutSeconds` (> 0), then ends it (L-437). Records `FailedPreStopHook` when it
   * fails or runs out of time, unless it only sleeps; no answer of the runtime is for the caller to judge. Only an abort
   * rejects, with `signal.reason`.
   */
  async preStop(request: HookRequest & { readonly timeoutSeconds: number }, { signal }: CallOptions): Promise<HookResult> {
    let result: Outcome;
    try {
      const limit = { ms: request.timeoutSeconds * 1000, signal, clock: this.#deps.clock };
      result = await withDeadline(limit, (limited) => this.#run(request, limited));
    } catch (error) {
      signal.throwIfAborted();
      if (!(error instanceof Deadline)) throw error;
      if (request.handler.sleep !== undefined) this.#sleepsCutShort.inc();
      else this.#record(request, failedHook.preStop.eventReason, failedHook.preStop.eventMessage);
      this.#deps.logger.info('a preStop hook did not end within the grace period', {
        pod: formatPod(request.pod),
        container: request.container.name,
      });
      return { kind: 'timedOut' };
    }
    if (result.kind === 'failed' && result.isUnanswered !== true) this.#failed(request, 'preStop', result.message);
    return result;
  }

  async #run(request: HookRequest, signal: AbortSignal): Promise<Outcome> {
    const { handler } = request;
    if (handler.exec !== undefined) return this.#exec(request, handler.exec.command ?? [], signal);
    if (handler.httpGet !== undefined) return this.#httpGet(request, handler.httpGet, signal);
    if (handler.sleep !== undefined) return this.#sleep(handler.sleep.seconds, signal);
    // `tcpSocket` is accepted for compatibility and cannot be run (L-429).
    return { kind: 'failed', message: `Cannot run handler: invalid handler: ${JSON.stringify(handler)}` };
  }

  /** The command is not expanded and has no time limit of its own (L-425). */
  async #exec(request: HookRequest, command: readonly string[], signal: AbortSignal): Promise<Outcome> {
    const fail = (error: string, output: string): Outcome => ({
      kind: 'failed',
      message: `Exec lifecycle hook ([${command.join(' ')}]) ${of(request)} failed - error: ${error}, message: ${JSON.stringify(output)}`,
    });
    try {
      const { exitCode, stdout, stderr } = await this.#deps.runtime.execSync(
        { containerId: request.containerId, command, timeoutSeconds: 0 },
        { signal },
      );
      if (exitCode === 0) return { kind: 'done' };
      const output = Buffer.concat([stdout, stderr]).subarray(0, maxBodyBytes).toString('utf8');
      const errorOutput = Buffer.from(stderr.subarray(0, maxBodyBytes)).toString('utf8');
      return fail(`command '${command.join(' ')}' exited with ${exitCode}: ${errorOutput}`, output);
    } catch (error) {
      signal.throwIfAborted();
      const isUnanswered = error instanceof RuntimeError && error.code === 'unavailable';
      return { ...fail(messageOf(error), ''), ...(isUnanswered ? { isUnanswered } : {}) };
    }
  }

  /** Any answer is success, whatever its status (L-426). */
  async #httpGet(request: HookRequest, action: HTTPGetAction, signal: AbortSignal): Promise<Outcome> {
    const fail = (error: string): Outcome => ({
      kind: 'failed',
      message: `HTTP lifecycle hook (${action.path ?? ''}) ${of(request)} failed - error: ${error}`,
    });
    const needsPodAddress = action.host === undefined || action.host === '';
    if (needsPodAddress && request.podAddress === undefined) {
      return fail(`failed to find networking container: ${formatPod(request.pod)} has no address`);
    }
    const lookup = httpActionRequest(action, request.container, { defaultHost: request.podAddress ?? '', userAgent });
    if (lookup.kind === 'error') return fail(lookup.message);
    const { target, headers } = lookup.request;
    try {
      await httpGet({ target, headers, maxBodyBytes, signal });
      return { kind: 'done' };
    } catch (error) {
      signal.throwIfAborted();
      if (error instanceof HttpGetError && error.code === 'body') return { kind: 'done' };
      if (!(error instanceof HttpGetError && error.code === 'plain-http')) return fail(messageOf(error));
    }
    // The port was meant for HTTPS and speaks plain HTTP; what proves an identity is not sent in the clear (L-427).
    const publicHeaders = headers.filter(({ name }) => name.toLowerCase() !== 'authorization');
    try {
      await httpGet({ target: { ...target, scheme: 'http' }, headers: publicHeaders, maxBodyBytes, signal });
    } catch (error) {
      signal.throwIfAborted();
      return fail(messageOf(error));
    }
    this.#fallbacks.inc();
    const address = hostPort(target.host, target.port);
    this.#record(
      request,
      'LifecycleHTTPFallback',
      `request to HTTPS lifecycle hook ${address} got HTTP response, retry with HTTP succeeded`,
    );
    return { kind: 'done' };
  }

  async #sleep(seconds: number, signal: AbortSignal): Promise<Outcome> {
    await this.#deps.clock.sleep(seconds * 1000, signal);
    return { kind: 'done' };
  }

  #failed(request: HookRequest, hook: keyof typeof failedHook, message: string): void {
    const { eventReason, eventMessage } = failedHook[hook];
    this.#record(request, eventReason, eventMessage);
    this.#deps.logger.warn('a lifecycle hook failed', {
      pod: formatPod(request.pod),
      container: request.container.name,
      hook,
      error: message,
    });
  }

  #record({ pod, container }: HookRequest, reason: string, message: string): void {
    this.#deps.events.record(containerObject(pod, container.name), 'Warning', reason, message);
  }
}

function of({ pod, container }: HookRequest): string {
  return `for Container ${JSON.stringify(container.name)} in Pod ${JSON.stringify(formatPod(pod))}`;
}
