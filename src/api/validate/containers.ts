// Validation of containers, init containers and ephemeral containers (S-168 … S-174, S-180, S-181, S-191 … S-194).
import type { Container, ContainerPort, PodSpec, VolumeMount } from '../gen/kubernetes.ts';
import { validateEnvironment } from './environment.ts';
import { dnsLabel, pathWithoutBacksteps, portName, portNumber, relativePath } from './formats.ts';
import { type HookContext, validateProbesAndHooks } from './handlers.ts';
import type { Report } from './report.ts';
import { validateResources } from './resources.ts';
import { validateSecurityContext } from './security.ts';
import type { UsableVolumes } from './volumes.ts';

export interface ContainerContext {
  readonly spec: PodSpec;
  readonly volumes: UsableVolumes;
  /** Names in `spec.resourceClaims`. */
  readonly claimNames: ReadonlySet<string>;
  readonly hooks: HookContext;
}

export function validateContainers(context: ContainerContext, report: Report): void {
  const { spec, hooks } = context;
  if (spec.containers.length === 0) report.required('spec.containers');
  const names = new Set<string>();
  for (const [i, container] of spec.containers.entries()) {
    const field = `spec.containers[${i}]`;
    validateCommon(field, container, context, report);
    validateUniqueName(field, container.name, names, report);
    validateProbesAndHooks(field, container, hooks, report);
  }
  validateHostPorts('spec.containers', spec.containers, report);
  validateInitContainers(context, report);
  validateEphemeralContainers(context, report);
}

/** Empty names are reported as missing, once each. */
function validateUniqueName(field: string, name: string, names: Set<string>, report: Report): void {
  if (name === '') return;
  if (names.has(name)) report.duplicate(`${field}.name`, name);
  names.add(name);
}

function validateInitContainers(context: ContainerContext, report: Report): void {
  const { spec, hooks } = context;
  const names = new Set(spec.containers.map(({ name }) => name));
  for (const [i, container] of (spec.initContainers ?? []).entries()) {
    const field = `spec.initContainers[${i}]`;
    validateCommon(field, container, context, report);
    validateUniqueName(field, container.name, names, report);
    // Each runs alone, so each is checked alone; Kubernetes' path then always says the first (S-173).
    validateHostPorts('spec.initContainers', [container], report);
    if (container.restartPolicy === 'Always') {
      validateProbesAndHooks(field, container, hooks, report);
      continue;
    }
    // S-191
    for (const name of ['lifecycle', 'livenessProbe', 'readinessProbe', 'startupProbe'] as const) {
      if (container[name] !== undefined)
        report.forbidden(`${field}.${name}`, 'may not be set for init containers without restartPolicy=Always');
    }
    for (const [j, policy] of (container.resizePolicy ?? []).entries()) {
      if (policy.restartPolicy !== 'RestartContainer') continue;
      const detail = "must be 'NotRequired' for init containers without restartPolicy=Always";
      report.invalid(`${field}.resizePolicy[${j}].restartPolicy`, policy.restartPolicy, detail);
    }
  }
}

const forbiddenInEphemeral = [
  'ports',
  'resources',
  'livenessProbe',
  'readinessProbe',
  'startupProbe',
  'lifecycle',
  'resizePolicy',
] as const;

/** S-194: none can be in a manifest, but what else is wrong with them is said too. */
function validateEphemeralContainers(context: ContainerContext, report: Report): void {
  const { spec } = context;
  const names = new Set([...spec.containers, ...(spec.initContainers ?? [])].map(({ name }) => name));
  const targets = new Set(names);
  const why = 'cannot be set for an Ephemeral Container';
  for (const [i, container] of (spec.ephemeralContainers ?? []).entries()) {
    const field = `spec.ephemeralContainers[${i}]`;
    validateCommon(field, container, context, report);
    validateUniqueName(field, container.name, names, report);
    const target = container.targetContainerName ?? '';
    if (target !== '' && !targets.has(target)) report.notFound(`${field}.targetContainerName`, target);
    for (const name of forbiddenInEphemeral) if (container[name] !== undefined) report.forbidden(`${field}.${name}`, why);
    for (const [j, mount] of (container.volumeMounts ?? []).entries()) {
      for (const name of ['subPath', 'subPathExpr'] as const) {
        if ((mount[name] ?? '') !== '') report.forbidden(`${field}.volumeMounts[${j}].${name}`, why);
      }
    }
  }
}

const terminationMessagePolicies = ['File', 'FallbackToLogsOnError'];
const pullPolicies = ['Always', 'IfNotPresent', 'Never'];

/** What all kinds of containers share. */
function validateCommon(field: string, container: Container, context: ContainerContext, report: Report): void {
  const { spec, volumes, claimNames } = context;
  const { name, image = '' } = container;
  if (name === '') report.required(`${field}.name`);
  else report.invalidEach(`${field}.name`, name, dnsLabel(name));
  // S-170
  if (image === '') report.required(`${field}.image`);
  else if (image.trim() !== image) report.invalid(`${field}.image`, image, 'must not have leading or trailing whitespace');
  report.oneOf(`${field}.terminationMessagePolicy`, container.terminationMessagePolicy ?? '', terminationMessagePolicies);
  validatePorts(`${field}.ports`, container.ports ?? [], report);
  validateEnvironment(field, container, volumes, report);
  validateMounts(`${field}.volumeMounts`, container, volumes, report);
  validateDevices(`${field}.volumeDevices`, container, volumes, report);
  report.oneOf(`${field}.imagePullPolicy`, container.imagePullPolicy ?? '', pullPolicies);
  if (container.resources !== undefined) validateResources(`${field}.resources`, container.resources, claimNames, report);
  validateResizePolicy(`${field}.resizePolicy`, container, spec, report);
  if (container.securityContext !== undefined) {
    validateSecurityContext(`${field}.securityContext`, container.securityContext, spec.hostUsers !== false, report);
  }
  validateRestartRules(field, container, report);
}

const protocols = ['SCTP', 'TCP', 'UDP'];

/** S-172 */
function validatePorts(field: string, ports: readonly ContainerPort[], report: Report): void {
  const names = new Set<string>();
  for (const [i, port] of ports.entries()) {
    const at = `${field}[${i}]`;
    const { name = '', containerPort, hostPort = 0, protocol = '' } = port;
    if (name !== '') {
      report.invalidEach(`${at}.name`, name, portName(name));
      if (names.has(name)) report.duplicate(`${at}.name`, name);
      names.add(name);
    }
    if (containerPort === 0) report.required(`${at}.containerPort`);
    else report.invalidEach(`${at}.containerPort`, containerPort, portNumber(containerPort));
    if (hostPort !== 0) report.invalidEach(`${at}.hostPort`, hostPort, portNumber(hostPort));
    report.oneOf(`${at}.protocol`, protocol, protocols);
  }
}

/** S-173 */
function validateHostPorts(field: string, containers: readonly Container[], report: Report): void {
  const taken = new Set<string>();
  for (const [i, container] of containers.entries()) {
    for (const [j, port] of (container.ports ?? []).entries()) {
      if ((port.hostPort ?? 0) === 0) continue;
      const key = `${port.protocol ?? 'TCP'}/${port.hostIP ?? ''}/${port.hostPort}`;
      if (taken.has(key)) report.duplicate(`${field}[${i}].ports[${j}].hostPort`, key);
      taken.add(key);
    }
  }
}

/** S-174 */
export function validateHostNetworkPorts(spec: PodSpec, report: Report): void {
  if (spec.hostNetwork !== true) return;
  for (const [i, container] of spec.containers.entries()) {
    for (const [j, { hostPort = 0, containerPort }] of (container.ports ?? []).entries()) {
      if (hostPort === 0 || hostPort === containerPort) continue;
      report.invalid(`spec.containers[${i}].ports[${j}].hostPort`, hostPort, 'must match `containerPort` when `hostNetwork` is true');
    }
  }
}

/** S-180; the last problems of a mount are reported without its index. */
function validateMounts(field: string, container: Container, volumes: UsableVolumes, report: Report): void {
  const paths = new Set<string>();
  const devices = container.volumeDevices ?? [];
  for (const [i, mount] of (container.volumeMounts ?? []).entries()) {
    const at = `${field}[${i}]`;
    const volume = volumes.get(mount.name);
    if (mount.name === '') report.required(`${at}.name`);
    if (volume === undefined) report.notFound(`${at}.name`, mount.name);
    if (mount.mountPath === '') report.required(`${at}.mountPath`);
    if (paths.has(mount.mountPath)) report.invalid(`${at}.mountPath`, mount.mountPath, 'must be unique');
    paths.add(mount.mountPath);
    if (devices.some(({ name }) => name === mount.name))
      report.invalid(`${at}.name`, mount.name, 'must not already exist in volumeDevices');
    if (devices.some(({ devicePath }) => devicePath === mount.mountPath)) {
      report.invalid(`${at}.mountPath`, mount.mountPath, 'must not already exist as a path in volumeDevices');
    }
    validateSubPaths(field, at, mount, report);
    validateMountModes(field, mount, container, report);
  }
}

function validateSubPaths(field: string, at: string, mount: VolumeMount, report: Report): void {
  const { subPath = '', subPathExpr = '' } = mount;
  report.invalidEach(`${field}.subPath`, subPath, relativePath(subPath));
  if (subPathExpr === '') return;
  if (subPath !== '') report.invalid(`${at}.subPathExpr`, subPathExpr, 'subPathExpr and subPath are mutually exclusive');
  report.invalidEach(`${field}.subPathExpr`, subPathExpr, relativePath(subPathExpr));
}

function validateMountModes(field: string, mount: VolumeMount, container: Container, report: Report): void {
  const { mountPropagation, recursiveReadOnly } = mount;
  if (mountPropagation !== undefined) {
    report.oneOf(`${field}.mountPropagation`, mountPropagation, ['Bidirectional', 'HostToContainer', 'None']);
    if (mountPropagation === 'Bidirectional' && container.securityContext?.privileged !== true) {
      report.forbidden(`${field}.mountPropagation`, 'Bidirectional mount propagation is available only to privileged containers');
    }
  }
  if (recursiveReadOnly === undefined || recursiveReadOnly === 'Disabled') return;
  const at = `${field}.recursiveReadOnly`;
  if (!report.oneOf(at, recursiveReadOnly, ['Disabled', 'Enabled', 'IfPossible'])) return;
  if (mount.readOnly !== true) report.forbidden(at, 'may only be specified when readOnly is true');
  if (mountPropagation !== undefined && mountPropagation !== 'None') {
    report.forbidden(at, 'may only be specified when mountPropagation is None or not specified');
  }
}

/** S-181 */
function validateDevices(field: string, container: Container, volumes: UsableVolumes, report: Report): void {
  const names = new Set<string>();
  const paths = new Set<string>();
  const mounts = container.volumeMounts ?? [];
  for (const [i, { name, devicePath }] of (container.volumeDevices ?? []).entries()) {
    const at = `${field}[${i}]`;
    const volume = volumes.get(name);
    if (name === '') report.required(`${at}.name`);
    if (name !== '' && names.has(name)) report.invalid(`${at}.name`, name, 'must be unique');
    names.add(name);
    if (volume === undefined) report.notFound(`${at}.name`, name);
    else if (volume.persistentVolumeClaim === undefined && volume.ephemeral === undefined) {
      const detail = 'can only use volume source type of PersistentVolumeClaim or Ephemeral for block mode';
      report.invalid(`${at}.name`, name, detail);
    }
    if (devicePath === '') report.required(`${at}.devicePath`);
    if (paths.has(devicePath)) report.invalid(`${at}.devicePath`, devicePath, 'must be unique');
    if (pathWithoutBacksteps(devicePath).length > 0) report.invalid(`${at}.devicePath`, devicePath, "can not contain backsteps ('..')");
    else paths.add(devicePath);
    if (mounts.some((mount) => mount.name === name)) report.invalid(`${at}.name`, name, 'must not already exist in volumeMounts');
    if (mounts.some((mount) => mount.mountPath === devicePath)) {
      report.invalid(`${at}.devicePath`, devicePath, 'must not already exist as a path in volumeMounts');
    }
  }
}

/** S-193 */
function validateResizePolicy(field: string, container: Container, spec: PodSpec, report: Report): void {
  const seen = new Set<string>();
  for (const [i, { resourceName, restartPolicy }] of (container.resizePolicy ?? []).entries()) {
    if (seen.has(resourceName)) report.duplicate(`${field}[${i}]`, resourceName);
    seen.add(resourceName);
    if (resourceName === '') report.required(field);
    else report.oneOf(field, resourceName, ['cpu', 'memory']);
    if (restartPolicy === '') report.required(field);
    else report.oneOf(field, restartPolicy, ['NotRequired', 'RestartContainer']);
    if (spec.restartPolicy === 'Never' && restartPolicy !== 'NotRequired') {
      report.invalid(field, restartPolicy, "must be 'NotRequired' when pod `restartPolicy` is 'Never'");
    }
  }
}

const maxRestartRules = 20;
const maxExitCodes = 255;

/** S-192 */
function validateRestartRules(field: string, container: Container, report: Report): void {
  const { restartPolicy, restartPolicyRules: rules = [] } = container;
  if (restartPolicy !== undefined) report.oneOf(`${field}.restartPolicy`, restartPolicy, ['Always', 'Never', 'OnFailure']);
  else if (rules.length > 0) report.required(`${field}.restartPolicy`, 'must specify restartPolicy when restart rules are used');
  if (rules.length > maxRestartRules) report.tooMany(`${field}.restartPolicyRules`, rules.length, maxRestartRules);
  for (const [i, { action, exitCodes }] of rules.entries()) {
    const at = `${field}.restartPolicyRules[${i}]`;
    report.oneOf(`${at}.action`, action, ['Restart', 'RestartAllContainers']);
    if (exitCodes === undefined) {
      report.required(`${at}.exitCodes`, 'must be specified');
      continue;
    }
    report.oneOf(`${at}.exitCodes.operator`, exitCodes.operator, ['In', 'NotIn']);
    const count = (exitCodes.values ?? []).length;
    if (count > maxExitCodes) report.tooMany(`${at}.exitCodes.values`, count, maxExitCodes);
  }
}
