// Validation of requests and limits, of containers and of the Pod as a whole (S-182 … S-186, S-209).
import { aggregateResources, isPodLevelResource } from '../defaults.ts';
import type { PodSpec, ResourceRequirements } from '../gen/kubernetes.ts';
import { type Amount, compareQuantities, formatQuantity, isWholeQuantity, parseQuantity, zeroQuantity } from '../quantity.ts';
import { dnsLabel, nonNegativeMessage, qualifiedName } from './formats.ts';
import type { Report } from './report.ts';

const computeResources = ['cpu', 'memory', 'ephemeral-storage'];
/** Unprefixed names that Kubernetes knows, although no container can have most of them. */
const standardResources = new Set([
  ...computeResources.flatMap((name) => [name, `requests.${name}`, `limits.${name}`]),
  'configmaps',
  'persistentvolumeclaims',
  'pods',
  'replicationcontrollers',
  'requests.storage',
  'resourcequotas',
  'secrets',
  'services',
  'services.loadbalancers',
  'services.nodeports',
  'storage',
]);

const isHugePages = (name: string): boolean => name.startsWith('hugepages-');

/** Of Kubernetes itself, as opposed to an extended resource of a device. */
function isNative(name: string): boolean {
  return !name.includes('/') || name.includes('kubernetes.io/');
}

function isExtended(name: string): boolean {
  return !isNative(name) && !name.startsWith('requests.') && qualifiedName(`requests.${name}`).length === 0;
}

/** cpu and memory may be promised twice; huge pages and devices may not. */
function isOvercommitAllowed(name: string): boolean {
  return isNative(name) && !isHugePages(name);
}

type Resources = Pick<ResourceRequirements, 'limits' | 'requests' | 'claims'>;

/** Containers, init containers, and (as limits only) the overhead. */
export function validateResources(field: string, resources: Resources, claimNames: ReadonlySet<string>, report: Report): void {
  validateAmounts(field, resources, validateContainerResourceName, report);
  validateHugePagesBeside(field, resources, report);
  validateClaims(`${field}.claims`, resources, claimNames, report);
}

function validateHugePagesBeside(field: string, resources: Resources, report: Report): void {
  const names = [...Object.keys(resources.limits ?? {}), ...Object.keys(resources.requests ?? {})];
  if (names.some(isHugePages) && !names.includes('cpu') && !names.includes('memory')) {
    report.forbidden(field, 'HugePages require cpu or memory');
  }
}

type NameCheck = (field: string, name: string, report: Report) => void;

function validateAmounts(field: string, resources: Resources, checkName: NameCheck, report: Report): void {
  for (const [name, text] of Object.entries(resources.limits ?? {})) {
    checkName(`${field}.limits[${name}]`, name, report);
    validateAmount(`${field}.limits[${name}]`, name, text, report);
  }
  for (const [name, text] of Object.entries(resources.requests ?? {})) {
    checkName(`${field}.requests[${name}]`, name, report);
    validateAmount(`${field}.requests[${name}]`, name, text, report);
    validateAgainstLimit(field, name, text, resources.limits?.[name], report);
  }
}

/** S-182 */
function validateContainerResourceName(field: string, name: string, report: Report): void {
  const messages = qualifiedName(name);
  if (messages.length > 0) {
    report.invalidEach(field, name, messages);
  } else if (!name.includes('/')) {
    const isKnown = standardResources.has(name) || isHugePages(name);
    if (!isKnown) report.invalid(field, name, 'must be a standard resource type or fully qualified');
    if (!computeResources.includes(name) && !isHugePages(name)) report.invalid(field, name, 'must be a standard resource for containers');
  } else if (!isNative(name) && !isExtended(name)) {
    report.invalid(field, name, "doesn't follow extended resource name standard");
  }
}

/** S-183 */
function validateAmount(field: string, name: string, text: string, report: Report): void {
  const amount = parseQuantity(text);
  if (amount === undefined) return;
  if (amount.nano < 0n) report.invalid(field, text, nonNegativeMessage);
  if (isExtended(name) && !isWholeQuantity(amount)) report.invalid(field, text, 'must be an integer');
  if (isHugePages(name) && !isPageMultiple(name, amount))
    report.invalid(field, text, `${text} is not positive integer multiple of ${name}`);
}

function isPageMultiple(name: string, amount: Amount): boolean {
  const page = parseQuantity(name.slice('hugepages-'.length));
  return page !== undefined && page.nano > 0n && amount.nano >= 0n && amount.nano % page.nano === 0n;
}

/** S-184 */
function validateAgainstLimit(field: string, name: string, text: string, limitText: string | undefined, report: Report): void {
  const request = parseQuantity(text);
  if (request === undefined) return;
  const limit = limitText === undefined ? undefined : parseQuantity(limitText);
  if (limit === undefined) {
    if (!isOvercommitAllowed(name)) report.required(`${field}.limits`, 'Limit must be set for non overcommitable resources');
    return;
  }
  const order = compareQuantities(request, limit);
  if (order !== 0 && !isOvercommitAllowed(name))
    report.invalid(`${field}.requests`, text, `must be equal to ${name} limit of ${limitText}`);
  else if (order > 0) report.invalid(`${field}.requests`, text, `must be less than or equal to ${name} limit of ${limitText}`);
}

/** S-185 */
function validateClaims(field: string, resources: Resources, claimNames: ReadonlySet<string>, report: Report): void {
  const seen = new Set<string>();
  for (const [i, claim] of (resources.claims ?? []).entries()) {
    if (claim.name === '') {
      report.required(`${field}[${i}]`);
      continue;
    }
    if (claim.request !== undefined && claim.request !== '')
      report.invalidEach(`${field}[${i}].request`, claim.request, dnsLabel(claim.request));
    const identity = claim.request === undefined ? claim.name : `${claim.name}/${claim.request}`;
    if (seen.has(identity)) report.duplicate(`${field}[${i}]`, identity);
    seen.add(identity);
    if (!claimNames.has(claim.name)) {
      const known = claimNames.size === 0 ? ' which is empty' : `: ${[...claimNames].sort().join(', ')}`;
      report.notFound(`${field}[${i}]`, claim.name, `must be one of the names in pod.spec.resourceClaims${known}`);
    }
  }
}

/** S-186 */
export function validatePodResources(spec: PodSpec, claimNames: ReadonlySet<string>, report: Report): void {
  const { resources } = spec;
  if (resources === undefined) return;
  const field = 'spec.resources';
  if (resources.claims !== undefined) report.forbidden(`${field}.claims`, 'claims may not be set for Resources at pod-level');
  validateAmounts(field, resources, validatePodResourceName, report);
  validateHugePagesBeside(field, resources, report);
  validateClaims(`${field}.claims`, resources, claimNames, report);
  for (const [name, needed] of aggregateResources(spec, 'requests')) {
    const text = resources.requests?.[name] ?? '0';
    if (!isPodLevelResource(name) && resources.requests?.[name] === undefined) continue;
    if (compareQuantities(needed, parseQuantity(text) ?? zeroQuantity) > 0) {
      const detail = `must be greater than or equal to aggregate container requests of ${formatQuantity(needed)}`;
      report.invalid(`${field}.requests[${name}]`, text, detail);
    }
  }
  for (const [i, container] of spec.containers.entries())
    validateContainerLimits(`spec.containers[${i}]`, container.resources?.limits, resources.limits, report);
  for (const [name, needed] of aggregateResources(spec, 'limits')) {
    const text = resources.limits?.[name];
    if (!isHugePages(name) || text === undefined) continue;
    if (compareQuantities(needed, parseQuantity(text) ?? zeroQuantity) > 0) {
      const detail = `must be greater than or equal to aggregate container limits of ${formatQuantity(needed)}`;
      report.invalid(`${field}.limits[${name}]`, text, detail);
    }
  }
}

type Quantities = Readonly<Record<string, string>> | undefined;

function validateContainerLimits(field: string, limits: Quantities, podLimits: Quantities, report: Report): void {
  for (const [name, text] of Object.entries(limits ?? {})) {
    const podText = podLimits?.[name];
    const limit = parseQuantity(text);
    const podLimit = podText === undefined ? undefined : parseQuantity(podText);
    if (limit === undefined || podLimit === undefined || compareQuantities(limit, podLimit) <= 0) continue;
    report.invalid(`${field}.resources.limits[${name}]`, text, `must be less than or equal to pod limits of ${podText}`);
  }
}

function validatePodResourceName(field: string, name: string, report: Report): void {
  const messages = qualifiedName(name);
  const isUnknown = !name.includes('/') && !standardResources.has(name) && !isHugePages(name);
  if (messages.length > 0) report.invalidEach(field, name, messages);
  else if (isUnknown) report.invalid(field, name, 'must be a standard resource type or fully qualified');
  else if (!isPodLevelResource(name)) report.notSupported(field, name, ['cpu', 'hugepages-', 'memory']);
}
