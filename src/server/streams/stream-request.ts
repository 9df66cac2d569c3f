// An upgrade request that was found allowed, and where it goes: what all ways of serving a stream take.
import type { IncomingMessage } from 'node:http';
import type { Duplex } from 'node:stream';
import type { StreamSelection } from '../views.ts';

export interface StreamRequest {
  readonly request: IncomingMessage;
  readonly socket: Duplex;
  /** What of the stream came together with the request. */
  readonly head: Buffer;
  /** The runtime's single-use URL. */
  readonly target: URL;
}

/** What the stream is for: a command's streams, or connections to ports. */
export type StreamPurpose = { readonly kind: 'exec' | 'attach'; readonly streams: StreamSelection } | { readonly kind: 'portforward' };

export interface StreamTarget {
  readonly url: string;
  readonly purpose: StreamPurpose;
}
