// Validation of what decides where a Pod may run: tolerations, selectors, affinity, topology spread (S-200 … S-203).
import type {
  Affinity,
  LabelSelector,
  NodeSelector,
  NodeSelectorRequirement,
  NodeSelectorTerm,
  PodAffinity,
  PodAffinityTerm,
  Toleration,
  TopologySpreadConstraint,
} from '../gen/kubernetes.ts';
import { dnsLabel, dnsSubdomain, labelValue, positiveMessage, qualifiedName } from './formats.ts';
import type { Report } from './report.ts';

const effects = ['NoSchedule', 'PreferNoSchedule', 'NoExecute'];

/** S-200 */
export function validateTolerations(field: string, tolerations: readonly Toleration[], report: Report): void {
  for (const [i, toleration] of tolerations.entries()) {
    const at = `${field}[${i}]`;
    const { key = '', operator = '', value = '', effect = '', tolerationSeconds } = toleration;
    if (key !== '') report.invalidEach(`${at}.key`, key, qualifiedName(key));
    else if (operator !== 'Exists') {
      report.invalid(
        `${at}.operator`,
        operator,
        'operator must be Exists when `key` is empty, which means "match all values and all keys"',
      );
    }
    if (tolerationSeconds !== undefined && effect !== 'NoExecute') {
      report.invalid(`${at}.effect`, effect, "effect must be 'NoExecute' when `tolerationSeconds` is set");
    }
    if (operator === '' || operator === 'Equal') {
      const messages = labelValue(value);
      if (messages.length > 0) report.invalid(`${at}.operator`, value, messages.join(';'));
    } else if (operator === 'Exists') {
      if (value !== '') report.invalid(`${at}.operator`, value, "value must be empty when `operator` is 'Exists'");
    } else {
      // Lt and Gt belong to a gate that is off; Kubernetes names them to those who wrote one (S-200).
      const compares = operator === 'Lt' || operator === 'Gt' ? ['Lt', 'Gt'] : [];
      report.notSupported(`${at}.operator`, operator, ['Equal', 'Exists', ...compares]);
    }
    if (effect !== '') report.oneOf(`${at}.effect`, effect, effects);
  }
}

/** S-202 */
export function validateAffinity(affinity: Affinity, report: Report): void {
  const node = affinity.nodeAffinity;
  const field = 'spec.affinity';
  if (node?.requiredDuringSchedulingIgnoredDuringExecution !== undefined) {
    const at = `${field}.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution`;
    validateNodeSelector(at, node.requiredDuringSchedulingIgnoredDuringExecution, report);
  }
  for (const [i, term] of (node?.preferredDuringSchedulingIgnoredDuringExecution ?? []).entries()) {
    const at = `${field}.nodeAffinity.preferredDuringSchedulingIgnoredDuringExecution[${i}]`;
    validateWeight(at, term.weight, report);
    validateNodeSelectorTerm(`${at}.preference`, term.preference, false, report);
  }
  if (affinity.podAffinity !== undefined) validatePodAffinity(`${field}.podAffinity`, affinity.podAffinity, report);
  if (affinity.podAntiAffinity !== undefined) validatePodAffinity(`${field}.podAntiAffinity`, affinity.podAntiAffinity, report);
}

function validateWeight(at: string, weight: number, report: Report): void {
  if (weight < 1 || weight > 100) report.invalid(`${at}.weight`, weight, 'must be in the range 1-100');
}

function validateNodeSelector(field: string, selector: NodeSelector, report: Report): void {
  const at = `${field}.nodeSelectorTerms`;
  if (selector.nodeSelectorTerms.length === 0) report.required(at, 'must have at least one node selector term');
  for (const [i, term] of selector.nodeSelectorTerms.entries()) validateNodeSelectorTerm(`${at}[${i}]`, term, true, report);
}

/** In a preference, values that no label can have are allowed: they only never match. */
function validateNodeSelectorTerm(field: string, term: NodeSelectorTerm, checksValues: boolean, report: Report): void {
  for (const [i, expression] of (term.matchExpressions ?? []).entries()) {
    validateNodeExpression(`${field}.matchExpressions[${i}]`, expression, checksValues, report);
  }
  for (const [i, expression] of (term.matchFields ?? []).entries()) {
    validateNodeField(`${field}.matchFields[${i}]`, expression, report);
  }
}

function validateNodeExpression(field: string, expression: NodeSelectorRequirement, checksValues: boolean, report: Report): void {
  const { key, operator, values = [] } = expression;
  switch (operator) {
    case 'In':
    case 'NotIn':
      if (values.length === 0) report.required(`${field}.values`, "must be specified when `operator` is 'In' or 'NotIn'");
      break;
    case 'Exists':
    case 'DoesNotExist':
      if (values.length > 0) report.forbidden(`${field}.values`, "may not be specified when `operator` is 'Exists' or 'DoesNotExist'");
      break;
    case 'Gt':
    case 'Lt':
      if (values.length !== 1) report.required(`${field}.values`, "must be specified single value when `operator` is 'Lt' or 'Gt'");
      break;
    default:
      report.invalid(`${field}.operator`, operator, 'not a valid selector operator');
  }
  report.invalidEach(`${field}.key`, key, qualifiedName(key));
  if (checksValues) for (const [i, value] of values.entries()) report.invalidEach(`${field}.values[${i}]`, value, labelValue(value));
}

function validateNodeField(field: string, expression: NodeSelectorRequirement, report: Report): void {
  const { key, operator, values = [] } = expression;
  if (operator !== 'In' && operator !== 'NotIn') report.invalid(`${field}.operator`, operator, 'not a valid selector operator');
  else if (values.length !== 1) {
    report.required(`${field}.values`, "must be only one value when `operator` is 'In' or 'NotIn' for node field selector");
  }
  if (key !== 'metadata.name') report.invalid(`${field}.key`, key, 'not a valid field selector key');
  else for (const [i, value] of values.entries()) report.invalidEach(`${field}.values[${i}]`, value, dnsSubdomain(value));
}

function validatePodAffinity(field: string, affinity: PodAffinity, report: Report): void {
  for (const [i, term] of (affinity.requiredDuringSchedulingIgnoredDuringExecution ?? []).entries()) {
    validatePodAffinityTerm(`${field}.requiredDuringSchedulingIgnoredDuringExecution[${i}]`, term, report);
  }
  for (const [i, term] of (affinity.preferredDuringSchedulingIgnoredDuringExecution ?? []).entries()) {
    const at = `${field}.preferredDuringSchedulingIgnoredDuringExecution[${i}]`;
    validateWeight(at, term.weight, report);
    validatePodAffinityTerm(`${at}.podAffinityTerm`, term.podAffinityTerm, report);
  }
}

function validatePodAffinityTerm(field: string, term: PodAffinityTerm, report: Report): void {
  if (term.labelSelector !== undefined) validateLabelSelector(`${field}.labelSelector`, term.labelSelector, report);
  if (term.namespaceSelector !== undefined) validateLabelSelector(`${field}.namespaceSelector`, term.namespaceSelector, report);
  for (const name of term.namespaces ?? []) report.invalidEach(`${field}.namespace`, name, dnsLabel(name));
  for (const list of ['matchLabelKeys', 'mismatchLabelKeys'] as const) {
    const keys = term[list] ?? [];
    if (keys.length > 0 && term.labelSelector === undefined) {
      report.forbidden(`${field}.${list}`, 'must not be specified when labelSelector is not set');
    } else for (const [i, key] of keys.entries()) report.invalidEach(`${field}.${list}[${i}]`, key, qualifiedName(key));
  }
  for (const [i, key] of (term.matchLabelKeys ?? []).entries()) {
    if (term.mismatchLabelKeys?.includes(key)) {
      report.invalid(`${field}.matchLabelKeys[${i}]`, key, 'exists in both matchLabelKeys and mismatchLabelKeys');
    }
  }
  if (term.topologyKey === '') report.required(`${field}.topologyKey`, 'can not be empty');
  report.invalidEach(`${field}.topologyKey`, term.topologyKey, qualifiedName(term.topologyKey));
}

export function validateLabelSelector(field: string, selector: LabelSelector, report: Report): void {
  for (const [key, value] of Object.entries(selector.matchLabels ?? {})) {
    report.invalidEach(`${field}.matchLabels`, key, qualifiedName(key));
    report.invalidEach(`${field}.matchLabels`, value, labelValue(value));
  }
  for (const [i, { key, operator, values = [] }] of (selector.matchExpressions ?? []).entries()) {
    const at = `${field}.matchExpressions[${i}]`;
    if (operator === 'In' || operator === 'NotIn') {
      if (values.length === 0) report.required(`${at}.values`, "must be specified when `operator` is 'In' or 'NotIn'");
    } else if (operator === 'Exists' || operator === 'DoesNotExist') {
      if (values.length > 0) report.forbidden(`${at}.values`, "may not be specified when `operator` is 'Exists' or 'DoesNotExist'");
    } else {
      report.invalid(`${at}.operator`, operator, 'not a valid selector operator');
    }
    report.invalidEach(`${at}.key`, key, qualifiedName(key));
    for (const [j, value] of values.entries()) report.invalidEach(`${at}.values[${j}]`, value, labelValue(value));
  }
}

const unsatisfiableActions = ['DoNotSchedule', 'ScheduleAnyway'];
const inclusionPolicies = ['Honor', 'Ignore'];

/** S-203 */
export function validateTopologySpread(field: string, constraints: readonly TopologySpreadConstraint[], report: Report): void {
  const pairs = new Set<string>();
  for (const [i, constraint] of constraints.entries()) {
    const at = `${field}[${i}]`;
    const { maxSkew, topologyKey, whenUnsatisfiable, minDomains } = constraint;
    if (maxSkew <= 0) report.invalid(`${at}.maxSkew`, maxSkew, positiveMessage);
    if (topologyKey === '') report.required(`${at}.topologyKey`, 'can not be empty');
    report.oneOf(`${at}.whenUnsatisfiable`, whenUnsatisfiable, unsatisfiableActions);
    const pair = `{${topologyKey}, ${whenUnsatisfiable}}`;
    if (pairs.has(pair)) report.duplicate(`${at}.{topologyKey, whenUnsatisfiable}`, pair);
    pairs.add(pair);
    if (minDomains !== undefined) {
      if (minDomains <= 0) report.invalid(`${at}.minDomains`, minDomains, positiveMessage);
      if (whenUnsatisfiable !== 'DoNotSchedule') {
        const detail = `can only use minDomains if whenUnsatisfiable=DoNotSchedule, not ${whenUnsatisfiable}`;
        report.invalid(`${at}.minDomains`, minDomains, detail);
      }
    }
    if (constraint.nodeAffinityPolicy !== undefined)
      report.oneOf(`${at}.nodeAffinityPolicy`, constraint.nodeAffinityPolicy, inclusionPolicies);
    if (constraint.nodeTaintsPolicy !== undefined) report.oneOf(`${at}.nodeTaintsPolicy`, constraint.nodeTaintsPolicy, inclusionPolicies);
    const keys = constraint.matchLabelKeys ?? [];
    if (keys.length > 0 && constraint.labelSelector === undefined) {
      report.forbidden(`${at}.matchLabelKeys`, 'must not be specified when labelSelector is not set');
    } else for (const [j, key] of keys.entries()) report.invalidEach(`${at}.matchLabelKeys[${j}]`, key, qualifiedName(key));
    if (constraint.labelSelector !== undefined) validateLabelSelector(`${at}.labelSelector`, constraint.labelSelector, report);
  }
}
