// Names in a manifest folder that are not manifests, though a kubelet would run them (S-028).

const editorNames: readonly { readonly pattern: RegExp; readonly why: string }[] = [
  { pattern: /~$/, why: 'the backup of an editor (name ends in ~)' },
  { pattern: /^#.*#$/, why: 'the automatic save of an editor (name is between #)' },
  { pattern: /\.(bak|orig|old|save|backup)$/i, why: 'a backup by its name' },
  { pattern: /\.(swp|swo|swx)$/i, why: 'the swap file of an editor' },
  { pattern: /^4913$/, why: 'the write test of an editor' },
  { pattern: /\.(rpmnew|rpmsave|rpmorig)$/, why: "a package manager's copy" },
  { pattern: /\.(dpkg-[a-z]+|ucf-[a-z]+)$/, why: "a package manager's copy" },
  { pattern: /\.(tmp|temp|part|partial|crdownload)$/i, why: 'a temporary file by its name' },
  { pattern: /^sed[A-Za-z0-9]{6}$/, why: 'the temporary file of sed -i' },
  { pattern: /___jb_(tmp|old)___$/, why: 'the temporary file of an editor' },
];

/** Hidden files are passed over in silence (S-015). */
export function isHidden(name: string): boolean {
  return name.startsWith('.');
}

/** Why a file of this name is not read, or undefined. */
export function whyIgnored(name: string): string | undefined {
  if (name.includes('\uFFFD')) return 'its name is not valid UTF-8';
  return editorNames.find(({ pattern }) => pattern.test(name))?.why;
}
