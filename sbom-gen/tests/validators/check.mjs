// Checks every CycloneDX document in a directory with CycloneDX's own JavaScript library, strictly, and
// every SPDX 3 document with its JSON schema, when that is given. Prints one line for each complaint; exits 1
// when there was one.
//
// Usage: node check.mjs NODE_FOLDER DIRECTORY [SCHEMA]
//   NODE_FOLDER: what tests/lab/make-node.sh made; SCHEMA: what spdx3_shapes.py --schema wrote

import { createRequire } from 'node:module'
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'

const [folder, directory, schema] = process.argv.slice(2)
const load = createRequire(join(folder, 'package.json'))
const CDX = load('@cyclonedx/cyclonedx-library')
const versions = { '.cdx15.json': '1.5', '.cdx.json': '1.6', '.cdx17.json': '1.7' }

let seen = 0
let bad = 0

// `complain`: what is wrong with a document's text, or null.
async function checkAll (suffix, complain) {
  for (const name of readdirSync(directory).filter(name => name.endsWith(suffix)).sort()) {
    seen += 1
    const complaints = await complain(readFileSync(join(directory, name), 'utf8'))
    if (complaints !== null) {
      bad += 1
      console.log(`${name}: ${JSON.stringify(complaints).slice(0, 600)}`)
    }
  }
}

for (const [suffix, version] of Object.entries(versions)) {
  const validator = new CDX.Validation.JsonStrictValidator(version)
  await checkAll(suffix, text => validator.validate(text))
}
if (schema) {
  const Ajv = load('ajv/dist/2020').default
  const validate = new Ajv({ strict: false }).compile(JSON.parse(readFileSync(schema, 'utf8')))
  await checkAll('.spdx3.json', text => validate(JSON.parse(text)) ? null : validate.errors.slice(-3))
}
console.log(`checked ${seen}, invalid ${bad}`)
process.exitCode = bad || !seen ? 1 : 0
