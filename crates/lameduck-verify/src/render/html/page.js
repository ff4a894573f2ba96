// The page is whole without this. It offers the raw data as a file, and prints with everything unfolded.
"use strict";
const data = document.getElementById("report-json");
const save = document.getElementById("save");
if (data && save) {
  save.hidden = false;
  save.addEventListener("click", () => {
    const file = new Blob([data.textContent], { type: "application/json" });
    const link = document.createElement("a");
    link.href = URL.createObjectURL(file);
    link.download = "lameduck-report.json";
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 10000);
  });
}
const unfold = [];
addEventListener("beforeprint", () => {
  for (const part of document.querySelectorAll("details.print:not([open])")) {
    part.open = true;
    unfold.push(part);
  }
});
addEventListener("afterprint", () => {
  for (const part of unfold.splice(0)) part.open = false;
});
