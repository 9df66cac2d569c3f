// Reads /proc/self/mountinfo: what is mounted below our folders. Pure.

/** Mount points at or below `folder`, innermost and newest first: the order to unmount them in. */
export function mountsBelow(mountinfo: string, folder: string): readonly string[] {
  return mountPoints(mountinfo)
    .filter((point) => point === folder || point.startsWith(`${folder}/`))
    .reverse();
}

function mountPoints(mountinfo: string): readonly string[] {
  return mountinfo.split('\n').flatMap((line) => {
    const point = line.split(' ')[4];
    return point === undefined ? [] : [unescapeOctal(point)];
  });
}

/** The kernel writes space, tab, newline and backslash of a path as `\040` and so on. */
function unescapeOctal(text: string): string {
  return text.replaceAll(/\\([0-7]{3})/g, (_, digits: string) => String.fromCharCode(Number.parseInt(digits, 8)));
}
