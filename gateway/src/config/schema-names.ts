// The names of the schema: which may stand at a place, which there are at all, and what an issue of the validator means
// in words. Pure; it reads the schema and never the configuration's secrets.
import { z } from 'zod';
import { pathText } from './config-error.ts';
import { suggestion } from './hints.ts';
import { schema } from './schema.ts';

/** What the validator found, as a path and the rest of a sentence about it. */
export interface Explanation {
  readonly path: readonly PropertyKey[];
  /** The fault is the path's last name itself, not its value. */
  readonly isName: boolean;
  readonly rest: string;
}

/**
 * Explains the first issue; a name that there is not goes first, as what it was meant to be is often what is missing.
 * `values` is what was checked: it decides which kind of back end is meant.
 */
export function explainIssues(issues: readonly z.core.$ZodIssue[], values: unknown): Explanation {
  const issue = issues.find(({ code }) => code === 'unrecognized_keys') ?? issues[0]!;
  if (issue.code === 'unrecognized_keys') {
    const [unknown = ''] = issue.keys;
    const hint = suggestion(unknown, knownKeys(issue.path, values));
    return { path: [...issue.path, unknown], isName: true, rest: `is no setting of Sluice. ${hint}` };
  }
  return { path: issue.path, isName: false, rest: `is wrong: ${messageOf(issue)}.` };
}

/** Every name that a configuration may have; those of a section or of a list's entries with its name before them. */
export function settingNames(): string[] {
  return Object.entries(schema.shape).flatMap(([name, type]) => {
    const inner = unwrapped(type);
    const below = (names: readonly string[]) => names.map((key) => pathText([name, key]));
    if (inner instanceof z.ZodArray) return [name, ...below(namesOf(inner.element))];
    return inner instanceof z.ZodObject ? below(namesOf(inner)) : [name];
  });
}

function messageOf(issue: z.core.$ZodIssue): string {
  if (issue.code !== 'invalid_union' || !('options' in issue) || !issue.options) return issue.message;
  return `expected one of ${issue.options.filter((one) => one !== undefined).join(', ')}`;
}

/** The names that may stand at a place. */
function knownKeys(path: readonly PropertyKey[], values: unknown): string[] {
  let type: unknown = schema;
  let value = values;
  for (const step of path) {
    type = chosen(unwrapped(type), value);
    if (type instanceof z.ZodObject) type = type.shape[String(step)];
    else if (type instanceof z.ZodArray) type = type.element;
    else if (type instanceof z.ZodRecord) type = type.valueType;
    value = (value as Record<PropertyKey, unknown> | undefined)?.[step];
  }
  return namesOf(chosen(unwrapped(type), value));
}

/** Of the forms that a value may have, the one that this value means to be. */
function chosen(type: unknown, value: unknown): unknown {
  if (type instanceof z.ZodDiscriminatedUnion) {
    const { discriminator } = type.def;
    const tag = (value as Record<string, unknown> | undefined)?.[discriminator];
    return type.options.find(
      (option) => option instanceof z.ZodObject && option.shape[discriminator].safeParse(tag).success,
    );
  }
  if (type instanceof z.ZodUnion) return type.options.find((option) => option instanceof z.ZodObject);
  return type;
}

function namesOf(type: unknown): string[] {
  const inner = unwrapped(type);
  if (inner instanceof z.ZodObject) return Object.keys(inner.shape);
  return inner instanceof z.ZodUnion ? [...new Set(inner.options.flatMap(namesOf))] : [];
}

function unwrapped(type: unknown): unknown {
  let inner = type;
  while (inner instanceof z.ZodOptional || inner instanceof z.ZodDefault || inner instanceof z.ZodPrefault) {
    inner = inner.unwrap();
  }
  return inner;
}
