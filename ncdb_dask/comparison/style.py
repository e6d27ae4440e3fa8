"""How pages look: light, printable, and readable on a phone."""

STYLE = """
:root { --ink: #1f2933; --soft: #5b6673; --line: #dde2e8; --back: #f5f7f9;
  --worse: #9a5b00; --worse-back: #fdf1dc; --better: #00694c; --better-back: #ddf3ea; }
* { box-sizing: border-box; }
body { margin: 0; background: var(--back); color: var(--ink);
  font: 16px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif; }
main { max-width: 1080px; margin: 0 auto; padding: 24px 20px 48px; }
h1 { font-size: 1.7rem; margin: 0 0 4px; line-height: 1.25; }
h2 { font-size: 1.3rem; margin: 0 0 12px; }
h3 { font-size: 1.05rem; margin: 28px 0 8px; }
p { margin: 0 0 10px; }
section { background: #fff; border: 1px solid var(--line); border-radius: 8px; padding: 20px 24px; margin: 18px 0; }
.soft { color: var(--soft); font-size: .9rem; }
.scroll + .soft { margin-top: 8px; }
section > :last-child { margin-bottom: 0; }
.sentence { font-size: 1.15rem; padding: 14px 18px; margin: 12px 0; border-left: 5px solid #8b95a1;
  background: #fff; border-radius: 4px; overflow-wrap: anywhere; }
.sentence.worse { border-color: #e69f00; background: var(--worse-back); }
.sentence.better { border-color: #009e73; background: var(--better-back); }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; font-size: .92rem; font-variant-numeric: tabular-nums; }
th, td { text-align: right; padding: 5px 10px; border-bottom: 1px solid var(--line); white-space: nowrap; }
th { color: var(--soft); font-weight: 600; vertical-align: bottom; }
th:first-child, td:first-child, td.words, th.words { text-align: left; }
td.name { white-space: normal; overflow-wrap: anywhere; min-width: 12em; }
td.words { white-space: normal; min-width: 12em; }
td.tensor { text-align: left; white-space: normal; overflow-wrap: anywhere; min-width: 19em; }
td.remedy { text-align: left; white-space: normal; min-width: 17em; }
td small { color: var(--soft); line-height: 1.35; }
tr:last-child td { border-bottom: 0; }
.mark { display: inline-block; border-radius: 10px; padding: 0 9px; font-size: .82rem; font-weight: 600; }
.mark.worse { background: var(--worse-back); color: var(--worse); }
.mark.changed { background: #e3edf6; color: #00507d; }
.mark.better { background: var(--better-back); color: var(--better); }
.pictures { display: grid; gap: 20px; margin-top: 20px;
  grid-template-columns: repeat(auto-fit, minmax(min(100%, 400px), 1fr)); }
figure { margin: 0 0 6px; }
.wide { overflow-x: auto; margin-bottom: 10px; }
.soft + .wide { margin-top: 22px; }
.wide img { min-width: 600px; }
.figures { grid-template-columns: repeat(auto-fit, minmax(150px, 1fr)); gap: 10px; }
.figures div { background: #fff; border: 1px solid var(--line); border-radius: 8px; padding: 10px 14px; }
.figures dt { font-size: .86rem; margin: 0; }
.figures dd { font-size: 1.35rem; font-variant-numeric: tabular-nums; }
.figures small { font-size: .86rem; color: var(--soft); }
details { margin-top: 16px; }
summary { cursor: pointer; color: var(--soft); font-weight: 600; margin-bottom: 8px; }
ol.steps { margin: 0; padding-left: 1.3em; }
figure img { width: 100%; height: auto; display: block; }
figcaption { font-weight: 600; margin-bottom: 4px; }
.panel { border: 1px solid var(--line); border-radius: 4px; padding: 10px; margin-bottom: 12px; }
.panel figcaption { overflow-wrap: anywhere; font-weight: 400; font-size: .9rem; }
pre { background: var(--back); border: 1px solid var(--line); border-radius: 4px; padding: 10px 12px; margin: 0 0 14px;
  font-size: .86rem; white-space: pre-wrap; overflow-wrap: anywhere; }
dl { display: grid; grid-template-columns: max-content 1fr; gap: 4px 18px; margin: 0; }
dt { color: var(--soft); }
dd { margin: 0; overflow-wrap: anywhere; }
ul { margin: 0; padding-left: 1.2em; }
li { margin-bottom: 4px; overflow-wrap: anywhere; }
@media (max-width: 600px) {
  main { padding: 14px 10px 32px; } section { padding: 14px; } h1 { font-size: 1.4rem; }
  dl { grid-template-columns: 1fr; } dt { margin-top: 6px; } th, td { padding: 4px 7px; }
  .figures { grid-template-columns: 1fr 1fr; } td.tensor { min-width: 13em; }
}
@media print {
  html { font-size: 11px; }  /* the unit of all other sizes */
  body { background: #fff; font-size: 11px; } main { max-width: none; padding: 0; }
  section { border: 0; padding: 0; } .scroll, .wide { overflow: visible; } .wide img { min-width: 0; }
  td, th { padding: 2px 5px; }
  figure, tr, .sentence { break-inside: avoid; } h2, h3 { break-after: avoid; }
  .sentence, .mark { print-color-adjust: exact; -webkit-print-color-adjust: exact; }
}
"""
