// Request bodies, bounded.
import { ApiError } from './kube/api-error.ts';

const maxBodyBytes = 3 * 1024 * 1024;

/** The whole body; a 413 when it is larger than the limit, by default the API server's own. */
export async function readBody(request: Request, limitBytes: number = maxBodyBytes): Promise<Buffer> {
  const tooLarge = (): ApiError => new ApiError(413, 'RequestEntityTooLarge', `Request entity too large: limit is ${limitBytes}`);
  if (Number(request.headers.get('content-length') ?? '0') > limitBytes) throw tooLarge();
  if (request.body === null) return Buffer.alloc(0);
  const parts: Uint8Array[] = [];
  let size = 0;
  for await (const part of request.body as ReadableStream<Uint8Array>) {
    size += part.length;
    if (size > limitBytes) throw tooLarge();
    parts.push(part);
  }
  return Buffer.concat(parts);
}
