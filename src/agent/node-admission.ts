// What Pods are measured against before they start (pod/admission.ts): the configuration, the machine, and what goes on
// with the node just now.
import { release } from 'node:os';
import type { Pod } from '../api/pod.ts';
import type { AgentConfig } from '../config/agent-config.ts';
import { noPressure, type Pressure } from '../eviction/thresholds.ts';
import { nodeLabels } from '../mirror/node-object.ts';
import { type ActivePod, type Admission, type AdmissionNode, type AppArmorFacts, admitPod, mayReturn } from '../pod/admission.ts';
import type { NodeFacts } from '../pod/node-facts.ts';
import type { Clock } from '../std/clock.ts';
import { messageOf } from '../std/errors.ts';
import type { Logger } from '../std/log.ts';
import type { Metrics } from '../std/metrics.ts';
import { type Host, realHost } from './host.ts';
import { nodeOptions, podCapacity } from './node-view.ts';

export interface NodeAdmissionDeps {
  /** Whether the runtime knows `supplementalGroupsPolicy: Strict`, as of its last answer. */
  readonly runtime: { readonly supplementalGroupsPolicy: boolean };
  readonly clock: Clock;
  readonly logger: Logger;
  /** Somebody who was refused may be admitted now. */
  readonly onChange: () => void;
  /** The real machine when absent. */
  readonly host?: Host;
}

interface Changing extends Pick<AdmissionNode, 'appArmor' | 'isShuttingDown'> {
  readonly pressure: Pressure;
  /** Those of the Node at an API server, once it was seen there (S-447). */
  readonly clusterLabels: Readonly<Record<string, string>>;
}

/** Profiles are loaded by hand, and seldom. */
const refreshMs = 60_000;

export class NodeAdmission {
  #fixed: Omit<AdmissionNode, keyof Changing | 'strictSupplementalGroups'>;
  readonly #facts: Pick<NodeFacts, 'allocatable' | 'capacity'>;
  readonly #deps: NodeAdmissionDeps;
  #changing: Changing = {
    appArmor: { isEnabled: false, loadedProfiles: undefined },
    pressure: noPressure,
    isShuttingDown: false,
    clusterLabels: {},
  };

  constructor(config: AgentConfig, facts: Pick<NodeFacts, 'allocatable' | 'capacity'>, deps: NodeAdmissionDeps) {
    this.#deps = deps;
    this.#facts = facts;
    this.#fixed = fixedBy(config, facts);
  }

  /** After a reload. Those who were refused are asked again. */
  configure(config: AgentConfig): void {
    this.#fixed = fixedBy(config, this.#facts);
    this.#deps.onChange();
  }

  admit(pod: Pod, active: readonly ActivePod[]): Admission {
    return admitPod(pod, active, this.#node());
  }

  get pressure(): Pressure {
    return this.#changing.pressure;
  }

  get isShuttingDown(): boolean {
    return this.#changing.isShuttingDown;
  }

  mayReturn(reason: string): boolean {
    return mayReturn(reason, this.#node());
  }

  /** Whoever watches the node tells what is so now. Answers whether it is news: then those who were refused are asked again. */
  update(change: Partial<Changing>): boolean {
    const next = { ...this.#changing, ...change };
    const text = (state: Changing): string => JSON.stringify([state, [...(state.appArmor.loadedProfiles ?? [])]]);
    const isNews = text(next) !== text(this.#changing);
    this.#changing = next;
    if (isNews) this.#deps.onChange();
    return isNews;
  }

  /** Reads what the kernel knows of AppArmor; call before the first Pod. */
  async refresh(): Promise<void> {
    this.update({ appArmor: await readAppArmor(this.#deps.host ?? realHost) });
  }

  async run({ signal }: { readonly signal: AbortSignal }): Promise<void> {
    for (;;) {
      await this.#deps.clock.sleep(refreshMs, signal);
      await this.refresh().catch((error: unknown) => this.#deps.logger.warn('apparmor cannot be read', { error: messageOf(error) }));
    }
  }

  #node(): AdmissionNode {
    const { memory, disk, pid } = this.#changing.pressure;
    return {
      ...this.#fixed,
      ...this.#changing,
      labels: { ...this.#fixed.labels, ...this.#changing.clusterLabels },
      pressure: [...(memory ? ['MemoryPressure'] : []), ...(disk ? ['DiskPressure'] : []), ...(pid ? ['PIDPressure'] : [])],
      strictSupplementalGroups: this.#deps.runtime.supplementalGroupsPolicy,
    };
  }
}

function fixedBy(config: AgentConfig, { allocatable, capacity }: Pick<NodeFacts, 'allocatable' | 'capacity'>) {
  return {
    name: config.nodeName,
    labels: nodeLabels(nodeOptions(config)),
    allocatable,
    maxPods: podCapacity(config, capacity.cpuMillis),
    sysctls: { allowedUnsafe: config.allowedUnsafeSysctls, kernelRelease: release() },
    criticalPods: config.criticalPods,
  };
}

/** H-391, H-392. */
export function admissionMetrics(metrics: Metrics): { onRefused(reason: string): void; onPreempted(resource: string): void } {
  const rejections = metrics.counter({
    name: 'kubelet_admission_rejections_total',
    help: '[ALPHA] Cumulative number pod admission rejections by the Kubelet',
    labels: ['reason'],
  });
  const preemptions = metrics.counter({
    name: 'kubelet_preemptions',
    help: '[ALPHA] Cumulative number of pod preemptions by preemption resource',
    labels: ['preemption_signal'],
  });
  return {
    onRefused: (reason) => rejections.inc({ reason }),
    onPreempted: (resource) => preemptions.inc({ preemption_signal: resource }),
  };
}

async function readAppArmor(host: Host): Promise<AppArmorFacts> {
  const [enabled, profiles] = await Promise.all(
    ['/sys/module/apparmor/parameters/enabled', '/sys/kernel/security/apparmor/profiles'].map((path) => host.readText(path)),
  );
  return {
    isEnabled: enabled?.startsWith('Y') === true,
    // Lines like `docker-default (enforce)`; names may have spaces.
    loadedProfiles: profiles === undefined ? undefined : new Set(profiles.split('\n').map((line) => line.replace(/ \([^()]*\)$/, ''))),
  };
}
