"use strict";
(() => {
  const report = JSON.parse(document.getElementById("review").textContent);
  const one = (id) => document.getElementById(id);
  const all = (selector, root = document) => [...root.querySelectorAll(selector)];
  const regions = all("li[data-defect]");
  // What is judged one by one: each region, and an image as a whole where none of it is judged by itself.
  const stops = all("li[data-defect], article:not(:has(li[data-defect]))");
  // The same inspection opened again goes on where it was left, as far as the browser lets a file remember.
  const memory = ["knotwatch", report.surface, report.model, report.date, ...report.images.map((p) => p.sha256.slice(0, 8))].join(" ");
  let unsaved = false;

  // A defect's outline, its row in the table, and what is said of it; of an image as a whole its row and itself.
  const same = new Map(stops.map((stop) => [stop.id, stop.dataset.defect ? [] : [stop]]));
  for (const element of all("[data-defect]")) same.get(element.dataset.defect).push(element);
  const twins = (id) => same.get(id) ?? [];

  function show() {
    const type = one("type")?.value ?? "", least = Number(one("least")?.value) || 0, marked = one("marked")?.checked ?? false;
    let shown = 0;
    document.body.classList.toggle("no-outlines", !one("outlines").checked);
    for (const heat of all(".heat")) heat.style.opacity = one("heat").value / 100;
    for (const region of regions) {
      const fits = type === "" || (type === "-" ? region.dataset.type === "" : region.dataset.type === type || JSON.parse(region.dataset.also).includes(type));
      const hide = !fits || Number(region.dataset.score) < least
        || (marked && region.closest("article").dataset.anomalous !== "true");
      for (const twin of twins(region.dataset.defect)) twin.toggleAttribute("hidden", hide);
      shown += !hide;
    }
    for (const article of all("article")) {
      const filtered = type !== "" || least > 0;
      article.hidden = (marked && article.dataset.anomalous !== "true")
        || (filtered && !all("li[data-defect]", article).some((li) => !li.hidden));
    }
    if (regions.length) one("count").textContent = shown;
  }

  function select(id, focus) {
    for (const old of all(".current")) old.classList.remove("current");
    const region = one(id);
    if (!region) return;
    for (const twin of twins(id)) twin.classList.add("current");
    // The image stays in sight where both fit on the screen.
    const article = region.closest("article"), height = region.getBoundingClientRect().bottom - article.getBoundingClientRect().top;
    if (height < window.innerHeight - 130) article.scrollIntoView({ block: "start" });
    else region.scrollIntoView({ block: "center" });
    if (focus) region.focus({ preventScroll: true });
  }

  function step(by) {
    const visible = stops.filter((region) => !region.hidden && !region.closest("article").hidden);
    const at = visible.findIndex((region) => region.classList.contains("current"));
    const next = visible[at < 0 ? (by > 0 ? 0 : visible.length - 1) : at + by];
    if (next) select(next.id, true);
  }

  // The next stop of another image.
  function leave(article) {
    const rest = stops.filter((stop) => !stop.hidden && !stop.closest("article").hidden);
    const last = rest.findLastIndex((stop) => stop.closest("article") === article);
    if (rest[last + 1]) select(rest[last + 1].id, true);
  }

  function verdict(region) {
    return all("input[type=radio]", region).find((radio) => radio.checked)?.value;
  }

  function give(region, value) {
    for (const radio of all("input[type=radio]", region)) radio.checked = radio.value === value;
  }

  function judge(article, isAnomalous) {
    article.dataset.sound = !isAnomalous;
    all(".missed", article)[0].checked = isAnomalous;
  }

  function isJudged(article) {
    const own = all("li[data-defect]", article);
    const extra = article.dataset.sound === "true" || all(".missed", article)[0].checked;
    return own.every(verdict) && (own.length > 0 || extra);
  }

  function review() {
    return {
      kind: "knotwatch review",
      schema_version: 1,
      surface: report.surface,
      model: report.model,
      reviewed: new Date().toISOString(),
      images: all("article").filter(isJudged).map((article) => {
        const { defects, more, ...facts } = report.images[article.dataset.photograph];
        const own = all("li[data-defect]", article);
        // A mask of the listed ones alone would call the others normal.
        const partly = more > 0 && own.some((region) => verdict(region) === "confirmed");
        return {
          ...facts,
          missed: all(".missed", article)[0].checked || partly,
          defects: defects.map((defect, n) => ({
            outline: defect.outline,
            verdict: verdict(own[n]),
            type: all(".named", own[n])[0].value.trim() || null,
          })),
        };
      }),
    };
  }

  function refresh() {
    for (const region of regions)
      for (const twin of twins(region.dataset.defect)) {
        twin.classList.toggle("rejected", verdict(region) === "rejected");
        twin.classList.toggle("confirmed", verdict(region) === "confirmed");
      }
    const articles = all("article"), judged = articles.filter(isJudged);
    for (const article of articles) all(".done", article)[0].textContent = judged.includes(article) ? "reviewed" : "";
    for (const article of stops.filter((stop) => !stop.dataset.defect)) {
      const isAnomalous = all(".missed", article)[0].checked, isNormal = article.dataset.sound === "true";
      for (const twin of twins(article.id)) {
        twin.classList.toggle("confirmed", isAnomalous);
        twin.classList.toggle("rejected", isNormal);
      }
      if (isAnomalous || isNormal) all(".done", article)[0].textContent = `reviewed: ${isAnomalous ? "anomalous" : "normal"}`;
    }
    one("progress").textContent = `${judged.length} of ${articles.length} ${articles.length === 1 ? "image" : "images"} reviewed`;
    one("save").disabled = judged.length === 0;
  }

  function changed() {
    unsaved = true;
    refresh();
    const state = all("article").map((article) => ({
      sound: article.dataset.sound === "true",
      missed: all(".missed", article)[0].checked,
      defects: all("li[data-defect]", article).map((r) => [verdict(r) ?? "", all(".named", r)[0].value]),
    }));
    try { localStorage.setItem(memory, JSON.stringify(state)); } catch { /* a browser may refuse */ }
  }

  function recall() {
    let state = null;
    try { state = JSON.parse(localStorage.getItem(memory)); } catch { /* as if there were none */ }
    if (!Array.isArray(state)) return;
    all("article").forEach((article, n) => {
      if (!state[n]) return;
      article.dataset.sound = state[n].sound;
      all(".missed", article)[0].checked = state[n].missed;
      all("li[data-defect]", article).forEach((region, k) => {
        give(region, state[n].defects[k]?.[0]);
        all(".named", region)[0].value = state[n].defects[k]?.[1] ?? "";
      });
    });
  }

  function save() {
    const link = document.createElement("a");
    link.href = URL.createObjectURL(new Blob([JSON.stringify(review(), null, 1)], { type: "application/json" }));
    link.download = `review-${report.surface}-${new Date().toISOString().slice(0, 19).replace(/[:T]/g, "-")}.json`;
    link.click();
    unsaved = false;
    one("saved").textContent = `Saved as ${link.download}. Next: knotwatch data review ${report.surface} ~/Downloads/${link.download}`;
    setTimeout(() => URL.revokeObjectURL(link.href), 60000);
  }

  for (const id of ["outlines", "heat", "type", "least", "marked"]) one(id)?.addEventListener("input", show);
  for (const article of all("article")) {
    all(".sound", article)[0].addEventListener("click", () => {
      judge(article, false);
      for (const region of all("li[data-defect]", article)) give(region, "rejected");
      changed();
    });
    all(".missed", article)[0].addEventListener("change", () => { article.dataset.sound = false; changed(); });
  }
  for (const region of regions) {
    region.addEventListener("change", (event) => {
      if (event.target.matches(".named") && event.target.value.trim()) give(region, "confirmed");
      if (verdict(region) === "confirmed") region.closest("article").dataset.sound = false;
      changed();
    });
  }
  for (const stop of stops) stop.addEventListener("focusin", () => {
    for (const old of all(".current")) old.classList.remove("current");
    for (const twin of twins(stop.id)) twin.classList.add("current");
  });
  for (const polygon of all(".outlines polygon[data-defect]")) polygon.addEventListener("click", () => select(polygon.dataset.defect, true));
  for (const link of all("#table a")) link.addEventListener("click", (event) => {
    event.preventDefault();
    history.replaceState(null, "", link.getAttribute("href"));
    select(link.getAttribute("href").slice(1), true);
  });
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    // Only where letters are written they are letters; sliders, lists and boxes keep the focus after a click.
    if (event.target.matches(".named")) {
      if (event.key === "Enter" || event.key === "Escape") (event.target.closest("li[data-defect]") ?? document.body).focus({ preventScroll: true });
      return;
    }
    if (event.target.matches("select") && "npcrog".includes(event.key)) event.preventDefault();
    const current = stops.find((stop) => stop.classList.contains("current"));
    if (event.key === "n") step(1);
    else if (event.key === "p") step(-1);
    else if (event.key === "o") { one("outlines").checked = !one("outlines").checked; show(); }
    else if (current && event.key === "g") {
      all(".sound", current.closest("article"))[0].click();
      leave(current.closest("article"));
    } else if (current && (event.key === "c" || event.key === "r")) {
      if (current.dataset.defect) give(current, event.key === "c" ? "confirmed" : "rejected");
      else judge(current, event.key === "c");
      changed();
    }
  });
  one("save").addEventListener("click", save);
  window.addEventListener("beforeunload", (event) => { if (unsaved) event.preventDefault(); });
  document.querySelector("form").addEventListener("submit", (event) => event.preventDefault());

  recall();
  show();
  refresh();
  if (location.hash) select(location.hash.slice(1), false);
})();
