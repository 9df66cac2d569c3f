// The caller by its TLS client certificate.
import type { IncomingMessage } from 'node:http';
import { TLSSocket } from 'node:tls';
import type { User } from './user.ts';

/** The user of a verified client certificate: CN and every O (H-005). Undefined without one. */
export function certificateUser(request: IncomingMessage): User | undefined {
  const { socket } = request;
  if (!(socket instanceof TLSSocket) || !socket.authorized) return undefined;
  const { subject } = socket.getPeerCertificate();
  const name: unknown = subject?.CN;
  if (typeof name !== 'string' || name === '') return undefined;
  const organizations: unknown = subject.O;
  const groups = Array.isArray(organizations) ? organizations.map(String) : typeof organizations === 'string' ? [organizations] : [];
  return { name, groups: [...groups, 'system:authenticated'] };
}
