"""Let `dvc plots show` and `dvc plots diff` work without a network. `make setup` runs this once.

DVC's own page loads Vega from a CDN and stays empty offline. This writes offline.html beside this file, a page
template that holds Vega itself, and names it in .dvc/config.local.
"""

import subprocess
import sys
from pathlib import Path

import vl_convert

TEMPLATE = Path(__file__).with_name("offline.html")
VEGA_LITE = "5.21"  # DVC's templates are written for version 5
PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
{{refresh_tag}}
<title>DVC plots</title>
<style>
body {{ font-family: sans-serif; }}
table {{ border-spacing: 15px; }}
img {{ max-width: 46vw; }} /* so that the pictures of two runs are side by side in the window */
</style>
<script>(function () {{
{vega}
}})();</script>
</head>
<body>
{{plot_divs}}
</body>
</html>
"""


def main() -> None:
    # The bundle is a module; the function around it keeps its names out of the page's global scope.
    vega = vl_convert.javascript_bundle(vl_version=VEGA_LITE).replace("</script", r"<\/script")
    beside = TEMPLATE.with_suffix(".partial")
    beside.write_text(PAGE.format(vega=vega), encoding="utf-8")
    beside.replace(TEMPLATE)
    subprocess.run(
        [sys.executable, "-m", "dvc", "config", "--local", "plots.html_template", "plots/offline.html"],
        cwd=TEMPLATE.parents[2],
        check=True,
    )


if __name__ == "__main__":
    main()
