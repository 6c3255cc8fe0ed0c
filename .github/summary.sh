#!/usr/bin/env bash
# summary.sh BASE HEAD: what a pull request changes, as Markdown, after the pipeline has run in a merge of the two.
# Figures are shown from the commits of both sides: GitHub drops pictures that stand in the text itself.
set -euo pipefail
PATH="$PWD/.venv/bin:$PATH"
base=$1
head=$2
repository=${GITHUB_SERVER_URL:-https://github.com}/${GITHUB_REPOSITORY:?}

# table DVC-COMMAND...: its rows, or a line that there are none
table() {
    local rows
    rows=$(dvc "$@" --md)
    rows=${rows:-No difference.}
    rows=${rows/"$base"/base}
    printf '\n%s\n' "${rows/workspace/this run}"
}

# picture COMMIT FILE: the figure as that commit has it, if it does
picture() {
    if git cat-file -e "$1:$2" 2>/dev/null; then
        printf '<img width="400" alt="%s" src="%s/raw/%s/%s">' "$(basename "$2" .png)" "$repository" "$(git rev-parse "$1")" "$2"
    fi
}

printf '## Against the base, %s\n\n### Parameters\n' "$(git rev-parse --short "$base")"
table params diff "$base"

printf '\n### Scores\n'
table metrics diff "$base" --all --targets metrics/summary.json
printf '\n<details><summary>All metrics</summary>\n'
table metrics diff "$base"
printf '\n</details>\n\n### Figures\n\n'

[ -z "${REPORT:-}" ] || printf '[The report of this run](%s) shows all figures.\n' "$REPORT"
figures=$(git diff --name-only "$base" HEAD -- plots/figures)
if [ -n "$figures" ]; then
    printf '\nThose that the pull request commits anew:\n\n| base | pull request |\n| --- | --- |\n'
    for figure in $figures; do
        printf '| %s | %s |\n' "$(picture "$base" "$figure")" "$(picture "$head" "$figure")"
    done
else
    printf 'The pull request commits no other figure.\n'
fi
drawn=$(git diff --name-only -- plots/figures | wc -l)
[ "$drawn" -eq 0 ] || printf '\nThis run drew %d figures that differ from the committed ones.\n' "$drawn"
