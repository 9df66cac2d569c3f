// Who asks: made by a listener (client certificate, unix socket), read by the handlers.

export interface User {
  readonly name: string;
  readonly groups: readonly string[];
  /** What else a cluster says of the owner of a token; handed back to it when it is asked what the user may do. */
  readonly uid?: string | undefined;
  readonly extra?: Readonly<Record<string, readonly string[]>> | undefined;
  /** The Impersonate headers of the request, names in lower case: whom it asks to be taken for. */
  readonly asked?: readonly (readonly [name: string, value: string])[] | undefined;
  /** Who really asks, when it is an administrator as somebody else. */
  readonly impersonatedBy?: string | undefined;
}

/** The one group that may do everything the node's API offers; nobody else may do anything. */
export const administrators = 'system:masters';

/** The owner of the root-only unix socket. */
export const socketUser: User = { name: 'root', groups: [administrators, 'system:authenticated'] };

export const isAdministrator = (user: User): boolean => user.groups.includes(administrators);
