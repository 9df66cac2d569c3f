// What must hold between settings (H-324): each rule on its own, so that all problems are told at once.
import { isIP } from 'node:net';

import type { AgentConfig } from './agent-config.ts';

/** The problems, each beginning with the field it is about. */
export function checkConfig(config: AgentConfig, isSet: (key: keyof AgentConfig) => boolean): readonly string[] {
  const problems: string[] = [];
  const rule = (holds: boolean, message: string): void => {
    if (!holds) problems.push(message);
  };
  rule(config.nodeName !== '', 'nodeName (--hostname-override): Required value: empty hostname is invalid');
  rule(
    config.nodeName === '' || isDnsSubdomain(config.nodeName),
    `nodeName (--hostname-override): Invalid value: ${JSON.stringify(config.nodeName)}: must be a lower-case DNS name of at most 253 characters`,
  );
  rule(
    config.imageGcLowThresholdPercent < config.imageGcHighThresholdPercent,
    `imageGCLowThresholdPercent (--image-gc-low-threshold) ${config.imageGcLowThresholdPercent} must be less than imageGCHighThresholdPercent (--image-gc-high-threshold) ${config.imageGcHighThresholdPercent}`,
  );
  rule(
    config.imageMaximumGcAgeMs === 0 || config.imageMaximumGcAgeMs > config.imageMinimumGcAgeMs,
    'imageMaximumGCAge must be 0 or greater than imageMinimumGCAge',
  );
  rule(
    (config.maxParallelImagePulls ?? 1) < 2 || !config.serializeImagePulls,
    'maxParallelImagePulls cannot be greater than 1 unless serializeImagePulls (--serialize-image-pulls) is false',
  );
  rule(
    config.cpuCfsQuotaPeriodMs === 100 || config.featureGates['CustomCPUCFSQuotaPeriod'] === true,
    'cpuCFSQuotaPeriod (--cpu-cfs-quota-period) requires the feature gate CustomCPUCFSQuotaPeriod',
  );
  checkShutdown(config, rule);
  checkAllocatable(config, rule);
  rule(
    config.preloadedImagesVerificationAllowlist.length === 0 ||
      config.imagePullCredentialsVerificationPolicy === 'NeverVerifyAllowlistedImages',
    'preloadedImagesVerificationAllowlist requires imagePullCredentialsVerificationPolicy NeverVerifyAllowlistedImages',
  );
  rule(!config.enableSystemLogQuery || config.enableSystemLogHandler, 'enableSystemLogQuery requires enableSystemLogHandler');
  rule(config.userNamespacesIdsPerPod % 65_536 === 0, 'userNamespaces.idsPerPod must be a multiple of 65536');
  rule(config.podLogsDir.startsWith('/') && isPrintableAscii(config.podLogsDir), 'podLogsDir must be an absolute path of ASCII characters');
  // The port 0 (any free one) is a default of agents with their own run directory; nobody can ask a kubelet for it.
  rule(!isSet('port') || config.port >= 1, `port (--port) ${config.port} must be between 1 and 65535, inclusive`);
  for (const [field, address] of [
    ['address (--address)', config.address],
    ['healthzBindAddress (--healthz-bind-address)', config.healthzBindAddress],
    ['kubeAPI.address', config.kubeApiAddress],
  ] as const)
    rule(isIP(address) !== 0, `${field}: Invalid value: ${JSON.stringify(address)}: must be an IP address`);
  for (const address of config.clusterDns)
    rule(isIP(address) !== 0, `clusterDNS (--cluster-dns): Invalid value: ${JSON.stringify(address)}: must be an IP address`);
  for (const [signal] of Object.entries(config.evictionSoft))
    rule(signal in config.evictionSoftGracePeriodMs, `evictionSoft[${signal}] requires evictionSoftGracePeriod[${signal}]`);
  for (const [field, dirs] of [
    ['privateContainerd.binDirs', config.privateContainerdBinDirs],
    ['privateContainerd.cniBinDirs', config.cniBinDirs],
  ] as const)
    for (const dir of dirs) rule(dir.startsWith('/'), `${field}: Invalid value: ${JSON.stringify(dir)}: must be an absolute path`);
  for (const [field, endpoint] of [
    ['containerRuntimeEndpoint (--container-runtime-endpoint)', config.containerRuntimeEndpoint],
    ['imageServiceEndpoint (--image-service-endpoint)', config.imageServiceEndpoint],
  ] as const)
    rule(
      endpoint === undefined || endpoint.startsWith('unix:///'),
      `${field}: Invalid value: ${JSON.stringify(endpoint)}: must be unix:// and an absolute path`,
    );
  checkSources(config, rule);
  checkClients(config, isSet, rule);
  checkNodeLabels(config, rule);
  rule(
    isSubnet(config.privateContainerdSubnet),
    `privateContainerd.subnet (--pod-subnet): Invalid value: ${JSON.stringify(config.privateContainerdSubnet)}: must be an IPv4 network such as 10.87.0.0/16, of at least 8 addresses`,
  );
  rule(
    /^[A-Za-z0-9_.-]{1,15}$/.test(config.privateContainerdBridge),
    `privateContainerd.bridge: Invalid value: ${JSON.stringify(config.privateContainerdBridge)}: must be the name of a network interface, at most 15 characters`,
  );
  rule(config.lockFile !== undefined || !config.exitOnLockContention, '--exit-on-lock-contention: no --lock-file specified');
  return problems;
}

type Rule = (holds: boolean, message: string) => void;

function checkShutdown(config: AgentConfig, rule: Rule): void {
  rule(
    config.shutdownGracePeriodCriticalPodsMs <= config.shutdownGracePeriodMs,
    'shutdownGracePeriodCriticalPods must not be greater than shutdownGracePeriod',
  );
  rule(
    config.shutdownGracePeriodByPodPriority.length === 0 || config.shutdownGracePeriodMs === 0,
    'shutdownGracePeriodByPodPriority excludes shutdownGracePeriod and shutdownGracePeriodCriticalPods',
  );
}

function checkAllocatable(config: AgentConfig, rule: Rule): void {
  const enforced = config.enforceNodeAllocatable;
  rule(!enforced.includes('none') || enforced.length === 1, 'enforceNodeAllocatable (--enforce-node-allocatable): "none" must stand alone');
  for (const name of ['system-reserved', 'kube-reserved'] as const) {
    rule(
      !(enforced.includes(name) && enforced.includes(`${name}-compressible`)),
      `enforceNodeAllocatable (--enforce-node-allocatable): "${name}" and "${name}-compressible" exclude each other`,
    );
    // The kubelet asks for the cgroup's name here; enforcing on cgroups that are not ours is not supported.
    rule(
      !enforced.some((e) => e.startsWith(name)),
      `enforceNodeAllocatable (--enforce-node-allocatable): Unsupported value: "${name}": only the Pods' cgroup is enforced`,
    );
  }
  rule(
    config.cgroupsPerQos || enforced.every((e) => e === 'none'),
    'enforceNodeAllocatable (--enforce-node-allocatable) other than "none" requires cgroupsPerQOS (--cgroups-per-qos)',
  );
}

function checkSources(config: AgentConfig, rule: Rule): void {
  if (config.staticPodUrl !== undefined) {
    const url = URL.canParse(config.staticPodUrl) ? new URL(config.staticPodUrl) : undefined;
    rule(
      url?.protocol === 'http:' || url?.protocol === 'https:',
      'staticPodURL (--manifest-url): Invalid value: must be an http:// or https:// URL',
    );
  }
  rule(
    (config.staticPodUrlCertFile === undefined) === (config.staticPodUrlKeyFile === undefined),
    'staticPodURLTLS: certFile and keyFile must be given together',
  );
}

function checkClients(config: AgentConfig, isSet: (key: keyof AgentConfig) => boolean, rule: Rule): void {
  rule(
    (config.tlsCertFile === undefined) === (config.tlsPrivateKeyFile === undefined),
    'tlsCertFile (--tls-cert-file) and tlsPrivateKeyFile (--tls-private-key-file) must be given together',
  );
  // C-487: whoever asks for the webhook must have an API server to ask.
  const hasClient = config.kubeconfig !== undefined;
  rule(
    hasClient || !isSet('authenticationWebhook') || !config.authenticationWebhook,
    'authentication.webhook.enabled (--authentication-token-webhook): no client provided, cannot use webhook authentication: give --kubeconfig or set it to false',
  );
  rule(
    hasClient || !isSet('authorizationMode') || config.authorizationMode !== 'Webhook',
    'authorization.mode (--authorization-mode): no client provided, cannot use webhook authorization: give --kubeconfig or use AlwaysAllow',
  );
  rule(hasClient || config.bootstrapKubeconfig === undefined, '--bootstrap-kubeconfig requires --kubeconfig');
}

const allowedKubernetesLabels: ReadonlySet<string> = new Set([
  'kubernetes.io/hostname',
  'kubernetes.io/os',
  'kubernetes.io/arch',
  'beta.kubernetes.io/os',
  'beta.kubernetes.io/arch',
  'beta.kubernetes.io/instance-type',
  'node.kubernetes.io/instance-type',
  'topology.kubernetes.io/region',
  'topology.kubernetes.io/zone',
  'failure-domain.beta.kubernetes.io/region',
  'failure-domain.beta.kubernetes.io/zone',
]);

/** H-345, S-360. */
function checkNodeLabels(config: AgentConfig, rule: Rule): void {
  const malformed = Object.entries(config.nodeLabels).flatMap(([key, value]) => {
    const slash = key.indexOf('/');
    const isKey = isLabelName(key.slice(slash + 1)) && (slash < 0 || isDnsSubdomain(key.slice(0, slash)));
    if (isKey && (value === '' || isLabelName(value))) return [];
    return [`'${key}' - ${isKey ? `Invalid value: ${JSON.stringify(value)}` : 'Invalid key'}`];
  });
  rule(malformed.length === 0, `invalid node labels: ${malformed.join('; ')}`);
  const refused = Object.keys(config.nodeLabels).filter((label) => {
    const prefix = label.includes('/') ? label.slice(0, label.indexOf('/')) : '';
    const isKubernetes = ['kubernetes.io', 'k8s.io'].some((domain) => prefix === domain || prefix.endsWith(`.${domain}`));
    const isOpen = ['kubelet.kubernetes.io', 'node.kubernetes.io'].some((domain) => prefix === domain || prefix.endsWith(`.${domain}`));
    return isKubernetes && !isOpen && !allowedKubernetesLabels.has(label);
  });
  rule(
    refused.length === 0,
    `unknown 'kubernetes.io' or 'k8s.io' labels specified with --node-labels: [${refused.join(' ')}]: allowed are prefixes kubelet.kubernetes.io, node.kubernetes.io and ${[...allowedKubernetesLabels].join(', ')}`,
  );
}

function isLabelName(text: string): boolean {
  return text.length <= 63 && /^[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?$/.test(text);
}

function isDnsSubdomain(name: string): boolean {
  return name.length <= 253 && /^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$/.test(name);
}

function isPrintableAscii(text: string): boolean {
  return /^[\x20-\x7e]+$/.test(text);
}

function isSubnet(text: string): boolean {
  const [address = '', bits = '', ...rest] = text.split('/');
  return (
    rest.length === 0 && isIP(address) === 4 && /^\d{1,2}$/.test(bits) && Number.parseInt(bits, 10) <= 29 && Number.parseInt(bits, 10) >= 8
  );
}
