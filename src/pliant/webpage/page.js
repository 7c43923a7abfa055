// Puts an interactive chart in the place of every still one. Charts follow the width of the page.
const specs = JSON.parse(document.getElementById("specs").textContent);
const options = { renderer: "svg", actions: false, ast: true, tooltip: { disableDefaultStyle: true } };
specs.forEach(async (spec, number) => {
  const place = document.getElementById("chart-" + number);
  const still = place.innerHTML;
  try {
    await vegaEmbed(place, spec, options);
  } catch (error) {
    place.innerHTML = still;
    console.error(error);
  }
});
