// Reads /proc/self/mountinfo: what is mounted below our folders, and whether Pods' mounts can spread. Pure.

interface Mount {
  readonly mountPoint: string;
  readonly isShared: boolean;
}

/** Mount points at or below `folder`, innermost and newest first: the order to unmount them in. */
export function mountsBelow(mountinfo: string, folder: string): readonly string[] {
  return parse(mountinfo)
    .map((mount) => mount.mountPoint)
    .filter((point) => point === folder || point.startsWith(`${folder}/`))
    .reverse();
}

/**
 * Whether `/` is a shared mount, as systemd makes it. If not, volume mounts with HostToContainer or Bidirectional
 * propagation fail in runc.
 */
export function isRootShared(mountinfo: string): boolean {
  return parse(mountinfo).findLast((mount) => mount.mountPoint === '/')?.isShared ?? false;
}

function parse(mountinfo: string): readonly Mount[] {
  return mountinfo.split('\n').flatMap((line) => {
    const [before = ''] = line.split(' - ');
    const fields = before.split(' ');
    const point = fields[4];
    if (point === undefined) return [];
    return [{ mountPoint: unescapeOctal(point), isShared: fields.slice(6).some((field) => field.startsWith('shared:')) }];
  });
}

/** The kernel writes space, tab, newline and backslash of a path as `\040` and so on. */
function unescapeOctal(text: string): string {
  return text.replaceAll(/\\([0-7]{3})/g, (_, digits: string) => String.fromCharCode(Number.parseInt(digits, 8)));
}
