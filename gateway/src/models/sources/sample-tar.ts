// Small tar archives for the tests of this room, as npm and others write them. Never imported by anything that is not a test.

export interface SampleMember {
  readonly path: string;
  readonly content?: Uint8Array;
  /** '0' is a file, '5' a folder, '2' a link. */
  readonly type?: string;
  /** How a path of more than 100 bytes, or any, is written. */
  readonly form?: 'plain' | 'pax' | 'gnu';
  /** A lie in the header, in bytes. */
  readonly statedSize?: number;
}

export function sampleTar(members: readonly SampleMember[]): Buffer {
  return Buffer.concat([...members.flatMap(memberBlocks), Buffer.alloc(1024)]);
}

function memberBlocks(member: SampleMember): Buffer[] {
  const { path, content = Buffer.alloc(0), type = '0', form = 'plain' } = member;
  const size = member.statedSize ?? content.length;
  if (form === 'plain') return [header(path, size, type), ...filled(content)];
  const long =
    form === 'gnu'
      ? { type: 'L', text: Buffer.from(`${path}\0`) }
      : { type: 'x', text: Buffer.from(record('path', path) + record('size', String(size))) };
  return [
    header('././@LongLink', long.text.length, long.type),
    ...filled(long.text),
    // What a reader of the old kind would see; with pax the size beside it is the true one.
    header('cut', form === 'pax' ? content.length : size, type),
    ...filled(content),
  ];
}

function header(path: string, size: number, type: string): Buffer {
  const block = Buffer.alloc(512);
  block.write(path, 0, 100);
  block.write('0000644\0', 100);
  block.write(`${size.toString(8).padStart(11, '0')}\0`, 124);
  block.write('00000000000\0', 136);
  block.write('        ', 148);
  block.write(type, 156);
  block.write('ustar\0', 257);
  block.write('00', 263);
  const sum = block.reduce((total, byte) => total + byte, 0);
  block.write(`${sum.toString(8).padStart(6, '0')}\0 `, 148);
  return block;
}

/** The length in front counts itself. */
function record(key: string, value: string): string {
  const rest = ` ${key}=${value}\n`;
  const bytes = Buffer.byteLength(rest);
  let length = bytes + String(bytes).length;
  length = bytes + String(length).length;
  return `${length}${rest}`;
}

function filled(content: Uint8Array): Buffer[] {
  return [Buffer.from(content), Buffer.alloc((512 - (content.length % 512)) % 512)];
}
