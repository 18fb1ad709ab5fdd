/** What turns the direction of the text that follows, also that of others. */
const TURNS = /[\u202a-\u202e\u2066-\u2069]/g;

/** What nobody sees. */
const UNSEEN = /[\p{Default_Ignorable_Code_Point}\p{C}\p{Z}\u2800]/gu;

/** A text of a device as one line of at most so many characters; empty if there is nothing to see. */
export function lineOf(text: string, most: number): string {
  const line = cut(text.replace(/[\s\p{Z}\p{Cc}]+/gu, ' ').replace(TURNS, '').trim(), most);
  return line.replace(UNSEEN, '') === '' ? '' : line;
}

/** The first characters; none is split. */
function cut(text: string, most: number): string {
  return text.length <= most ? text : [...text].slice(0, most).join('').trim();
}
