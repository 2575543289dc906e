from demo.ablation.command import main

main()
