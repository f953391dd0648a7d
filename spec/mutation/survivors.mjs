/** What README.md in this folder says of changes that no spec notices: by function. */
import { readFileSync } from 'node:fs'
import ts from 'typescript'

/** Of each entry: its files, and the names of functions, methods and private fields behind them. */
export const LISTED = new Set(
  readFileSync(new URL('README.md', import.meta.url), 'utf8')
    .split(/\n(?=[-#])/)
    .filter((entry) => entry.startsWith('- `'))
    .flatMap((entry) => {
      const [subject] = entry.replaceAll(/\s+/g, ' ').split(': ')
      return subject
        .split(/(?<![,`] )(?=`[\w/-]+\.ts`)|(?<=(?:\)|#\w+), )(?=`)/)
        .flatMap((group) => {
          const names = group.match(/#?\w+(?=\(\))|#\w+/g) ?? []
          return (group.match(/[\w/-]+\.ts/g) ?? []).flatMap((file) =>
            names.map((name) => `lib/${file} ${name}`),
          )
        })
    }),
)

/**
 * Of the text of a file, a function: the entry for the function or field that a line and column are
 * in; undefined if there is none.
 */
export function entriesIn(file, text) {
  const source = ts.createSourceFile(file, text, ts.ScriptTarget.Latest, true)
  return ({ line, column }) => {
    const at = source.getPositionOfLineAndCharacter(line - 1, column - 1)
    const names = []
    const visit = (node) => {
      if (node.getStart() > at || node.end <= at) return
      if (ts.isConstructorDeclaration(node)) names.push('constructor')
      else if (
        (ts.isFunctionLike(node) || ts.isPropertyDeclaration(node)) &&
        node.name !== undefined
      )
        names.push(node.name.getText())
      ts.forEachChild(node, visit)
    }
    visit(source)
    return names.map((name) => `${file} ${name}`).find((entry) => LISTED.has(entry))
  }
}
