"""python -m jaxplain.concepts DIR: drawn textures, and random crops of photographs."""

from jaxplain.concepts._textures import main

main()
