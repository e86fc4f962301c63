// Checks every CycloneDX document in a directory with CycloneDX's own JavaScript library, strictly.
// Prints one line for each complaint; exits 1 when there was one.
//
// Usage: node check.mjs NODE_FOLDER DIRECTORY   (NODE_FOLDER: what tests/lab/make-node.sh made)

import { createRequire } from 'node:module'
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'

const [folder, directory] = process.argv.slice(2)
const CDX = createRequire(join(folder, 'package.json'))('@cyclonedx/cyclonedx-library')
const versions = { '.cdx15.json': '1.5', '.cdx.json': '1.6', '.cdx17.json': '1.7' }

let seen = 0
let bad = 0
for (const [suffix, version] of Object.entries(versions)) {
  const validator = new CDX.Validation.JsonStrictValidator(version)
  for (const name of readdirSync(directory).filter(name => name.endsWith(suffix)).sort()) {
    seen += 1
    const complaints = await validator.validate(readFileSync(join(directory, name), 'utf8'))
    if (complaints !== null) {
      bad += 1
      console.log(`${name}: ${JSON.stringify(complaints).slice(0, 600)}`)
    }
  }
}
console.log(`checked ${seen}, invalid ${bad}`)
process.exitCode = bad || !seen ? 1 : 0
