// What is said about an object to whoever asks (`kubectl events`, `kubectl describe`): Kubernetes Events in the small.

export type EventType = 'Normal' | 'Warning';

/** The object an event is about. */
export interface EventObject {
  readonly kind: 'Pod' | 'Node';
  readonly namespace: string;
  readonly name: string;
  readonly uid: string;
  /** For example `spec.containers{web}` (L-215). */
  readonly fieldPath?: string | undefined;
}

export interface EventSink {
  /** `reason` is Kubernetes' own, verbatim; repeated events are counted, not repeated. Never throws. */
  record(object: EventObject, type: EventType, reason: string, message: string): void;
}
