// A story for whoever looks whether an answer is whole: no two of its pieces are alike, so that one lost, doubled or moved shows;
// cut anywhere, some leave half a character or half a word. Pure.

const WORDS = ['量子', ' river', '，计算', '😀', ' naïve', '\n\n', '👩‍👩‍👧', '  two', 'é', '。'];

export function storyOf(pieces: number): string[] {
  return Array.from({ length: pieces }, (_, index) => `${WORDS[index % WORDS.length]}${index}`);
}

/** What of the story is left behind so much of it, in pieces that end where its own do. */
export function restOf(story: readonly string[], said: string): string[] {
  let at = 0;
  return story.flatMap((piece) => {
    const rest = piece.slice(Math.max(0, said.length - at));
    at += piece.length;
    return rest === '' ? [] : [rest];
  });
}
