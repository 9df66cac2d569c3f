// Whether a Pod wants to be on a node with these labels: nodeSelector and required node affinity (S-458).
import type { NodeSelectorRequirement, NodeSelectorTerm, PodSpec } from '../api/gen/kubernetes.ts';

export interface LabelledNode {
  readonly name: string;
  readonly labels: Readonly<Record<string, string>>;
}

export function wantsNode(spec: PodSpec, node: LabelledNode): boolean {
  const { labels } = node;
  if (!Object.entries(spec.nodeSelector ?? {}).every(([key, value]) => labels[key] === value)) return false;
  const required = spec.affinity?.nodeAffinity?.requiredDuringSchedulingIgnoredDuringExecution;
  return required === undefined || required.nodeSelectorTerms.some((term) => matchesTerm(term, node));
}

/** A term that asks for nothing matches nothing. */
function matchesTerm({ matchExpressions = [], matchFields = [] }: NodeSelectorTerm, { name, labels }: LabelledNode): boolean {
  if (matchExpressions.length === 0 && matchFields.length === 0) return false;
  const fields = { 'metadata.name': name };
  return matchExpressions.every((one) => meets(one, labels)) && matchFields.every((one) => meets(one, fields));
}

/** An unknown operator, which validation refuses, is not met. */
function meets({ key, operator, values = [] }: NodeSelectorRequirement, labels: Readonly<Record<string, string>>): boolean {
  const value = Object.hasOwn(labels, key) ? labels[key] : undefined;
  switch (operator) {
    case 'In':
      return value !== undefined && values.includes(value);
    case 'NotIn':
      return value === undefined || !values.includes(value);
    case 'Exists':
      return value !== undefined;
    case 'DoesNotExist':
      return value === undefined;
    case 'Gt':
    case 'Lt': {
      const [own, other] = [integerOf(value), integerOf(values[0])];
      if (own === undefined || other === undefined || values.length !== 1) return false;
      return operator === 'Gt' ? own > other : own < other;
    }
    default:
      return false;
  }
}

function integerOf(text: string | undefined): bigint | undefined {
  return text !== undefined && /^[-+]?\d{1,19}$/.test(text) ? BigInt(text.replace('+', '')) : undefined;
}
