// RuntimeClass without an API server: a name is looked up in the node's own table (difference to L-194).
import type { PodSpec } from '../api/gen/kubernetes.ts';
import type { Problems } from './build-result.ts';
import type { NodeFacts, RuntimeHandlerFacts } from './node-facts.ts';

/** The handler to run the Pod with; empty for the default one. A class nobody configured is a problem. */
export function runtimeHandlerOf(spec: PodSpec, node: NodeFacts, problems: Problems): string {
  const name = spec.runtimeClassName ?? '';
  if (name === '') return '';
  const handler = Object.hasOwn(node.runtimeClasses, name) ? node.runtimeClasses[name] : undefined;
  if (handler === undefined) {
    const known = Object.keys(node.runtimeClasses).sort();
    const hint = known.length === 0 ? 'runtimeHandlers is empty' : `runtimeHandlers has ${known.join(', ')}`;
    problems.push(`RuntimeClass ${JSON.stringify(name)} is not known to this node: in AgentConfiguration ${hint}`);
  }
  return handler ?? '';
}

/** What the Pod's handler can do; nothing when the runtime did not say (L-235). */
export function handlerFeaturesOf(spec: PodSpec, node: NodeFacts): RuntimeHandlerFacts {
  const name = runtimeHandlerOf(spec, node, []);
  const found = node.runtimeHandlers.find((handler) => handler.name === name);
  return found ?? { name, recursiveReadOnlyMounts: false, userNamespaces: false };
}
