// Validation of the Pod's specification as a whole, section by section in Kubernetes' order (S-195 … S-211).
import type { HostAlias, PodDNSConfig, PodResourceClaim, PodSpec } from '../gen/kubernetes.ts';
import { annotationKeys, type Pod } from '../pod.ts';
import { validateContainers, validateHostNetworkPorts } from './containers.ts';
import { byteLength, dnsLabel, dnsSubdomain, dnsSubdomainWithUnderscore, inclusiveRange, qualifiedName, strictIp } from './formats.ts';
import { validateLabels } from './metadata.ts';
import type { Report } from './report.ts';
import { validatePodResources, validateResources } from './resources.ts';
import { validateAffinity, validateTolerations, validateTopologySpread } from './scheduling.ts';
import { validateHostUsers, validateOs, validatePodSecurityContext } from './security.ts';
import { validateVolumes } from './volumes.ts';

export function validateSpec(pod: Pod, report: Report): void {
  const { spec, metadata } = pod;
  const volumes = validateVolumes(spec, metadata, report);
  const claims = spec.resourceClaims ?? [];
  validateResourceClaims(claims, metadata.annotations[annotationKeys.configMirror] !== undefined, report);
  const claimNames = new Set(claims.map(({ name }) => name).filter((name) => name !== ''));
  const hooks = { gracePeriodSeconds: spec.terminationGracePeriodSeconds ?? 30, os: spec.os?.name ?? '' };
  validateContainers({ spec, volumes, claimNames, hooks }, report);
  validatePodResources(spec, claimNames, report);
  validateHostNetworkPorts(spec, report);
  report.oneOf('spec.restartPolicy', spec.restartPolicy ?? '', ['Always', 'OnFailure', 'Never']);
  report.oneOf('spec.dnsPolicy', spec.dnsPolicy ?? '', ['ClusterFirstWithHostNet', 'ClusterFirst', 'Default', 'None']);
  validateLabels('spec.nodeSelector', spec.nodeSelector, report);
  validatePodSecurityContext(spec, report);
  if (spec.affinity !== undefined) validateAffinity(spec.affinity, report);
  validateDns(spec.dnsPolicy, spec.dnsConfig, report);
  for (const [i, gate] of (spec.readinessGates ?? []).entries()) {
    report.invalidEach(`spec.readinessGates[${i}].conditionType`, gate.conditionType, qualifiedName(gate.conditionType));
  }
  validateSchedulingGates(spec, report);
  validateTopologySpread('spec.topologySpreadConstraints', spec.topologySpreadConstraints ?? [], report);
  validateHostUsers(spec, report);
  validateNames(spec, report);
  validateTolerations('spec.tolerations', spec.tolerations ?? [], report);
  validateHostAliases(spec.hostAliases ?? [], report);
  if (spec.preemptionPolicy !== undefined) {
    if (spec.preemptionPolicy === '') report.required('spec.preemptionPolicy');
    else report.oneOf('spec.preemptionPolicy', spec.preemptionPolicy, ['PreemptLowerPriority', 'Never']);
  }
  if (spec.overhead !== undefined) validateResources('spec.overhead', { limits: spec.overhead }, new Set(), report);
  validateOs(spec, report);
}

/** S-210 */
function validateResourceClaims(claims: readonly PodResourceClaim[], isMirror: boolean, report: Report): void {
  if (isMirror && claims.length > 0) report.forbidden('spec.resourceClaims', 'static pods do not support resource claims');
  const names = new Set<string>();
  for (const [i, claim] of claims.entries()) {
    const at = `spec.resourceClaims[${i}]`;
    if (claim.name === '') report.required(`${at}.name`);
    else if (names.has(claim.name)) report.duplicate(`${at}.name`, claim.name);
    else report.invalidEach(`${at}.name`, claim.name, dnsLabel(claim.name));
    names.add(claim.name);
    const { resourceClaimName, resourceClaimTemplateName } = claim;
    if (resourceClaimName !== undefined && resourceClaimTemplateName !== undefined) {
      report.invalid(at, claim, 'at most one of `resourceClaimName` or `resourceClaimTemplateName` may be specified');
    }
    if (resourceClaimName === undefined && resourceClaimTemplateName === undefined) {
      report.invalid(at, claim, 'must specify one of: `resourceClaimName`, `resourceClaimTemplateName`');
    }
    for (const name of ['resourceClaimName', 'resourceClaimTemplateName'] as const) {
      const value = claim[name];
      if (value !== undefined) report.invalidEach(`${at}.${name}`, value, dnsSubdomain(value));
    }
  }
}

const maxNameservers = 3;
const maxSearchPaths = 32;
const maxSearchCharacters = 2048;

/** S-196 */
function validateDns(policy: string | undefined, config: PodDNSConfig | undefined, report: Report): void {
  const at = 'spec.dnsConfig';
  const nameservers = config?.nameservers ?? [];
  if (policy === 'None') {
    if (config === undefined) {
      report.required(at, 'must provide `dnsConfig` when `dnsPolicy` is None');
      return;
    }
    if (nameservers.length === 0) {
      report.required(`${at}.nameservers`, 'must provide at least one DNS nameserver when `dnsPolicy` is None');
      return;
    }
  }
  if (config === undefined) return;
  if (nameservers.length > maxNameservers) {
    report.invalid(`${at}.nameservers`, nameservers, `must not have more than ${maxNameservers} nameservers`);
  }
  for (const [i, address] of nameservers.entries()) report.invalidEach(`${at}.nameservers[${i}]`, address, strictIp(address));
  const searches = config.searches ?? [];
  if (searches.length > maxSearchPaths)
    report.invalid(`${at}.searches`, searches, `must not have more than ${maxSearchPaths} search paths`);
  if (byteLength(searches.join(' ')) > maxSearchCharacters) {
    const detail = `must not have more than ${maxSearchCharacters} characters (including spaces) in the search list`;
    report.invalid(`${at}.searches`, searches, detail);
  }
  for (const [i, search] of searches.entries()) {
    if (search === '.') continue;
    const name = search.replace(/\.$/, '');
    report.invalidEach(`${at}.searches[${i}]`, name, dnsSubdomainWithUnderscore(name));
  }
  for (const [i, option] of (config.options ?? []).entries()) {
    if ((option.name ?? '') === '') report.required(`${at}.options[${i}]`, 'must not be empty');
  }
}

/** S-208, apart from the node's name. */
function validateSchedulingGates(spec: PodSpec, report: Report): void {
  const seen = new Set<string>();
  for (const [i, { name }] of (spec.schedulingGates ?? []).entries()) {
    report.invalidEach(`spec.schedulingGates[${i}]`, name, qualifiedName(name));
    if (seen.has(name)) report.duplicate(`spec.schedulingGates[${i}]`, name);
    seen.add(name);
  }
}

const maxHostnameOverride = 64;

/** S-197, S-198 */
function validateNames(spec: PodSpec, report: Report): void {
  const check = (field: keyof PodSpec, rule: (value: string) => readonly string[]): void => {
    const value = spec[field];
    if (typeof value === 'string' && value !== '') report.invalidEach(`spec.${field}`, value, rule(value));
  };
  check('serviceAccountName', dnsSubdomain);
  check('nodeName', dnsSubdomain);
  const deadline = spec.activeDeadlineSeconds;
  if (deadline !== undefined && (deadline < 1 || deadline > 2 ** 31 - 1)) {
    report.invalid('spec.activeDeadlineSeconds', deadline, inclusiveRange(1, 2 ** 31 - 1));
  }
  check('hostname', dnsLabel);
  check('subdomain', dnsLabel);
  validateHostnameOverride(spec, report);
  check('priorityClassName', dnsSubdomain);
  if (spec.runtimeClassName !== undefined) {
    report.invalidEach('spec.runtimeClassName', spec.runtimeClassName, dnsSubdomain(spec.runtimeClassName));
  }
}

function validateHostnameOverride(spec: PodSpec, report: Report): void {
  const field = 'spec.hostnameOverride';
  const name = spec.hostnameOverride;
  if (name === undefined) return;
  if (byteLength(name) > maxHostnameOverride) report.tooLong(field, maxHostnameOverride);
  report.invalidEach(field, name, dnsSubdomain(name));
  if (spec.setHostnameAsFQDN === true) report.forbidden(field, 'may not be specified when setHostnameAsFQDN is true');
  if (spec.hostNetwork === true) report.forbidden(field, 'may not be specified when hostNetwork is true');
}

/** S-199 */
function validateHostAliases(aliases: readonly HostAlias[], report: Report): void {
  for (const [i, alias] of aliases.entries()) {
    report.invalidEach(`spec.hostAliases[${i}].ip`, alias.ip, strictIp(alias.ip));
    for (const [j, hostname] of (alias.hostnames ?? []).entries()) {
      report.invalidEach(`spec.hostAliases[${i}].hostnames[${j}]`, hostname, dnsSubdomain(hostname));
    }
  }
}
