// Validation of probes and lifecycle hooks (S-188 … S-190).
import type {
  Container,
  ExecAction,
  GRPCAction,
  HTTPGetAction,
  Lifecycle,
  Probe,
  SleepAction,
  TCPSocketAction,
} from '../gen/kubernetes.ts';
import { httpHeaderName, nonNegativeMessage, portName, portNumber } from './formats.ts';
import type { Report } from './report.ts';

interface Handler {
  readonly exec?: ExecAction | undefined;
  readonly httpGet?: HTTPGetAction | undefined;
  readonly tcpSocket?: TCPSocketAction | undefined;
  readonly grpc?: GRPCAction | undefined;
  readonly sleep?: SleepAction | undefined;
}

const handlerOrder = ['exec', 'httpGet', 'tcpSocket', 'grpc', 'sleep'] as const;

export interface HookContext {
  readonly gracePeriodSeconds: number;
  /** `spec.os.name`, or empty. */
  readonly os: string;
}

/** Probes and hooks of a regular container or of a sidecar. */
export function validateProbesAndHooks(field: string, container: Container, context: HookContext, report: Report): void {
  if (container.lifecycle !== undefined) validateLifecycle(`${field}.lifecycle`, container.lifecycle, context, report);
  for (const kind of ['livenessProbe', 'readinessProbe', 'startupProbe'] as const) {
    const probe = container[kind];
    if (probe !== undefined) validateProbe(`${field}.${kind}`, probe, kind, context, report);
  }
}

/** S-188 */
function validateProbe(
  at: string,
  probe: Probe,
  kind: 'livenessProbe' | 'readinessProbe' | 'startupProbe',
  context: HookContext,
  report: Report,
): void {
  validateHandler(at, probe, context, report);
  for (const name of ['initialDelaySeconds', 'timeoutSeconds', 'periodSeconds', 'successThreshold', 'failureThreshold'] as const) {
    const value = probe[name];
    if (value !== undefined && value < 0) report.invalid(`${at}.${name}`, value, nonNegativeMessage);
  }
  const grace = probe.terminationGracePeriodSeconds;
  if (grace !== undefined && grace <= 0) report.invalid(`${at}.terminationGracePeriodSeconds`, grace, 'must be greater than 0');
  if (kind === 'readinessProbe') {
    if (grace !== undefined) report.invalid(`${at}.terminationGracePeriodSeconds`, grace, 'must not be set for readinessProbes');
  } else if (probe.successThreshold !== 1) {
    report.invalid(`${at}.successThreshold`, probe.successThreshold, 'must be 1');
  }
}

function validateLifecycle(at: string, lifecycle: Lifecycle, context: HookContext, report: Report): void {
  if (lifecycle.postStart !== undefined) validateHandler(`${at}.postStart`, lifecycle.postStart, context, report);
  if (lifecycle.preStop !== undefined) validateHandler(`${at}.preStop`, lifecycle.preStop, context, report);
  const signal = lifecycle.stopSignal;
  if (signal === undefined) return;
  if (context.os === '') report.forbidden(`${at}.stopSignal`, 'may not be set for containers with empty `spec.os.name`');
  else report.oneOf(`${at}.stopSignal`, signal, context.os === 'windows' ? windowsSignals : linuxSignals);
}

const windowsSignals = ['SIGKILL', 'SIGTERM'];

const realtimeSignals = [
  'SIGRTMIN',
  ...Array.from({ length: 15 }, (_, i) => `SIGRTMIN+${i + 1}`),
  ...Array.from({ length: 14 }, (_, i) => `SIGRTMAX-${14 - i}`),
  'SIGRTMAX',
];

const namedSignals =
  'ABRT ALRM BUS CHLD CLD CONT FPE HUP ILL INT IO IOT KILL PIPE POLL PROF PWR QUIT SEGV STKFLT STOP SYS TERM TRAP TSTP TTIN TTOU URG USR1 USR2 VTALRM WINCH XCPU XFSZ';

const linuxSignals: readonly string[] = [...namedSignals.split(' ').map((name) => `SIG${name}`), ...realtimeSignals].sort();

function validateHandler(at: string, handler: Handler, context: HookContext, report: Report): void {
  const [first, ...others] = handlerOrder.filter((kind) => handler[kind] !== undefined);
  if (first === undefined) report.required(at, 'must specify a handler type');
  else validateAction(`${at}.${first}`, first, handler, context, report);
  for (const kind of others) report.forbidden(`${at}.${kind}`, 'may not specify more than 1 handler type');
}

/** S-189 */
function validateAction(at: string, kind: (typeof handlerOrder)[number], handler: Handler, context: HookContext, report: Report): void {
  switch (kind) {
    case 'exec':
      if ((handler.exec?.command ?? []).length === 0) report.required(`${at}.command`);
      return;
    case 'httpGet': {
      const { path = '', port = 0, scheme = '', httpHeaders = [] } = handler.httpGet ?? {};
      if (path === '') report.required(`${at}.path`);
      validatePort(`${at}.port`, port, report);
      report.oneOf(`${at}.scheme`, scheme, ['HTTP', 'HTTPS']);
      for (const header of httpHeaders) report.invalidEach(`${at}.httpHeaders`, header.name, httpHeaderName(header.name));
      return;
    }
    case 'tcpSocket':
      validatePort(`${at}.port`, handler.tcpSocket?.port ?? 0, report);
      return;
    case 'grpc':
      validatePort(`${at}.port`, handler.grpc?.port ?? 0, report);
      return;
    case 'sleep': {
      const seconds = handler.sleep?.seconds ?? 0;
      const grace = context.gracePeriodSeconds;
      if (seconds < 0 || seconds > grace) {
        report.invalid(at, seconds, `must be non-negative and less than terminationGracePeriodSeconds (${grace})`);
      }
    }
  }
}

function validatePort(field: string, port: number | string, report: Report): void {
  report.invalidEach(field, port, typeof port === 'number' ? portNumber(port) : portName(port));
}
